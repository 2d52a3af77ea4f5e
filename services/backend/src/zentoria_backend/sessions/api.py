"""``/api/v1/sessions``: where the caller is signed in, which the auth service knows."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.paging import Page
from zentoria_backend.services import ServicesDep
from zentoria_backend.sessions.schemas import SessionShown

router = APIRouter(tags=["sessions"])


@router.get("/api/v1/sessions", summary="List sessions", responses=answers(502))
async def list_sessions(principal: Caller, services: ServicesDep) -> Page[SessionShown]:
    """Where you are signed in, the newest first; all of them on one page."""
    return await services.auth.ask(Page[SessionShown], "GET", "/sessions", user=principal)


@router.delete("/api/v1/sessions/{session_id}", summary="End a session", status_code=204, responses=answers(404, 502))
async def end_session(session_id: UUID, principal: Caller, services: ServicesDep) -> Response:
    """Sign out somewhere: its access tokens are refused at once."""
    await services.auth.tell("DELETE", f"/sessions/{session_id}", user=principal)
    await services.access.forget_sessions()
    return Response(status_code=204)
