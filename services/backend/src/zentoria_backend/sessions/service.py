"""Where the caller is signed in: the auth service knows."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.access.principal import Principal
from zentoria_backend.paging import Page
from zentoria_backend.services import Services
from zentoria_backend.sessions.schemas import SessionShown


async def list_sessions(services: Services, principal: Principal) -> Page[SessionShown]:
    """All of them on one page, the newest first.

    Raises:
        Problem: 502, 503.
    """
    return await services.auth.ask(Page[SessionShown], "GET", "/sessions", user=principal)


async def end_session(services: Services, principal: Principal, session_id: UUID) -> None:
    """Sign out somewhere.

    Raises:
        Problem: 404, 502, 503.
    """
    await services.auth.tell("DELETE", f"/sessions/{session_id}", user=principal)
    await services.access.forget_sessions()
