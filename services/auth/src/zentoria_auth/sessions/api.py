"""One's own sessions, for the gateway."""

from __future__ import annotations

import uuid

from fastapi import APIRouter
from zentoria_common.problems import Problem, answers

from zentoria_auth.person import SessionReader, SessionWriter
from zentoria_auth.services import ServicesDep
from zentoria_auth.sessions.schemas import SessionList

router = APIRouter(prefix="/internal/v1", tags=["sessions"])


@router.get("/sessions", responses=answers(403))
async def listed(person: SessionReader, services: ServicesDep) -> SessionList:
    """Where one is signed in, the newest first."""
    return SessionList(items=await services.sessions.listed(person.user_id, person.sid))


@router.delete("/sessions/{sid}", status_code=204, responses=answers(403, 404))
async def end(sid: uuid.UUID, person: SessionWriter, services: ServicesDep) -> None:
    """End one of one's own sessions."""
    if not await services.sessions.end(sid, "ended_by_user", person.peer, user_id=person.user_id):
        raise Problem(404, "there is no such session")
