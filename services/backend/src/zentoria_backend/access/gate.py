"""What every route passes: the permission table, deny by default, and rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import structlog
from fastapi import Depends
from starlette.requests import HTTPConnection
from zentoria_common.problems import Problem, Unavailable

from zentoria_backend.access.principal import Principal
from zentoria_backend.access.rule import Audience

if TYPE_CHECKING:
    from zentoria_backend.services import Services

_log = structlog.stdlib.get_logger("zentoria_backend.access")


async def gate(connection: HTTPConnection) -> None:
    """Let a request through, or raise the problem that says why not.

    ``routes.install`` puts it before every route: a route without a line in the table answers 403.
    """
    services = cast("Services", connection.app.state.services)
    route = connection.scope["route"]
    rule = services.access.rule(connection.scope.get("method", "WS"), route.path)
    if rule.scope is None:
        await services.limiter.admit(connection, None)
        return
    principal = await authenticated(services, connection)
    await services.limiter.admit(connection, principal)
    try:
        services.access.authorize(principal, rule)
    except Problem as refusal:
        await _note(services, principal, "access.denied", {"route": route.path, "wanted": rule.scope, **_why(refusal)})
        raise


async def authenticated(services: Services, connection: HTTPConnection, audience: Audience = "api") -> Principal:
    """Authenticate; a credential that is not good is counted against its address, and written into the audit trail.

    Raises:
        Problem: 400, 401; 429 for an address that tries many.
    """
    try:
        return await services.access.authenticate(connection, audience=audience)
    except Problem as refusal:
        if refusal.status not in (400, 401) or refusal.kind == "no-credential":
            raise
        await services.limiter.failed(connection)
        await _note(services, None, "auth.failed", _why(refusal))
        raise


async def principal_of(connection: HTTPConnection) -> Principal:
    """The caller of a route that is not public: :func:`gate` has found it."""
    principal = getattr(connection.state, "principal", None)
    if not isinstance(principal, Principal):
        raise Problem(401, "the request has no credential", kind="no-credential")
    return principal


Caller = Annotated[Principal, Depends(principal_of)]


def _why(refusal: Problem) -> dict[str, Any]:
    return {"kind": refusal.kind, "reason": refusal.detail}


async def _note(services: Services, principal: Principal | None, action: str, details: dict[str, Any]) -> None:
    """Write an audit row about a refusal, which stands also where the row cannot be written."""
    try:
        await services.audit.record(principal, action, "credential", None, details=details, severity="warning")
    except Unavailable:
        _log.warning("refusal not in the audit trail", error=action)
