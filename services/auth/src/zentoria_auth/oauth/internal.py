"""What programs one has let in, for the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from zentoria_common.problems import Problem, answers

from zentoria_auth.oauth.api import OAuthDep
from zentoria_auth.person import SessionReader, SessionWriter

router = APIRouter(prefix="/internal/v1/me", tags=["programs"])


class GrantShown(BaseModel):
    """What a program was allowed."""

    id: uuid.UUID
    client_id: str
    client_name: str
    scopes: list[str]
    resource: str
    created_at: datetime
    last_used_at: datetime | None


class GrantList(BaseModel):
    """One's own, the newest first; there is no second page."""

    items: list[GrantShown]
    next_cursor: None = None


@router.get("/grants", responses=answers(403))
async def listed(person: SessionReader, oauth: OAuthDep) -> GrantList:
    """What one has allowed, the newest first."""
    found = await oauth.server.grants(person.user_id)
    return GrantList(items=[GrantShown.model_validate(each, from_attributes=True) for each in found])


@router.delete("/grants/{grant}", status_code=204, responses=answers(403, 404))
async def take_back(grant: uuid.UUID, person: SessionWriter, oauth: OAuthDep) -> None:
    """Take back what a program was allowed; its sessions end."""
    if not await oauth.server.revoke_grant(person.user_id, grant, person.peer):
        raise Problem(404, "there is no such grant")
