"""How else one signs in, for the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, SecretStr
from zentoria_common.problems import Problem, answers

from zentoria_auth.person import ProfileReader, ProfileWriter, must_be_fresh
from zentoria_auth.services import ServicesDep

router = APIRouter(prefix="/internal/v1/me", tags=["identities"])


class IdentityShown(BaseModel):
    """An identity that is linked to one's account."""

    id: uuid.UUID
    provider: str
    email: str | None
    created_at: datetime
    last_login_at: datetime | None


class ProviderShown(BaseModel):
    """A provider that one can link: at ``/auth/providers/<name>/start?link=true``, in the browser."""

    name: str
    label: str


class Identities(BaseModel):
    """One's identities, the oldest first, and the providers of the site; there is no second page."""

    items: list[IdentityShown]
    providers: list[ProviderShown]
    next_cursor: None = None


@router.get("/identities", responses=answers(403))
async def listed(person: ProfileReader, services: ServicesDep) -> Identities:
    """How else one signs in."""
    found = await services.providers.accounts.linked(person.user_id)
    return Identities(
        items=[IdentityShown.model_validate(each, from_attributes=True) for each in found],
        providers=[ProviderShown(name=each.name, label=each.label) for each in services.providers.shown],
    )


@router.post("/identities/{identity}/remove", status_code=204, responses=answers(403, 404, 429))
async def unlink(
    identity: uuid.UUID,
    person: ProfileWriter,
    services: ServicesDep,
    current_password: Annotated[SecretStr | None, Body(embed=True, max_length=4096)] = None,
) -> None:
    """Take an identity away."""
    await must_be_fresh(services, person, current_password)
    if not await services.providers.accounts.unlink(person.user_id, identity, person.peer):
        raise Problem(404, "there is no such identity")
