"""First run for the gateway: look at a link, and use it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr
from zentoria_common.problems import answers

from zentoria_auth.accounts.schemas import Password, PersonName
from zentoria_auth.services import ServicesDep
from zentoria_auth.setup.service import Purpose
from zentoria_auth.signin.schemas import ClientInfo

router = APIRouter(prefix="/internal/v1", tags=["first run"])
Token = Annotated[SecretStr, Field(max_length=100)]


class OfferShown(BaseModel):
    """What a link gives."""

    purpose: Purpose
    email: str
    name: str
    expires_at: datetime


class LinkLook(BaseModel):
    """A link's token; in a body, because addresses are logged."""

    token: Token


class LinkUse(LinkLook):
    """What the person chose."""

    email: Annotated[str, Field(max_length=1024)] = ""
    name: PersonName = ""
    password: Password
    client: ClientInfo = ClientInfo()


class Made(BaseModel):
    """The account is there, with its new password."""

    user_id: int
    email: str


@router.post("/setup/look", responses=answers(410))
async def look(request: LinkLook, services: ServicesDep) -> OfferShown:
    """What a link gives; it stays as it is."""
    return OfferShown.model_validate(await services.setup.look(request.token.get_secret_value()), from_attributes=True)


@router.post("/setup", status_code=201, responses=answers(409, 410))
async def use(request: LinkUse, services: ServicesDep) -> Made:
    """Use a link: it makes the first account, or sets a password."""
    done = await services.setup.complete(
        request.token.get_secret_value(),
        request.email,
        request.name,
        request.password.get_secret_value(),
        request.client.peer,
    )
    return Made(user_id=done.account.id, email=done.account.email)
