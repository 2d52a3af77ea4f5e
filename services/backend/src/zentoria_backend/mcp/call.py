"""What a tool knows of its call: who asks, and what it works with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from mcp.server.mcpserver import Context
from starlette.requests import Request

if TYPE_CHECKING:
    from zentoria_backend.access.principal import Principal
    from zentoria_backend.services import Services

KEY = "zentoria.call"
"""Of the call in the ASGI scope. The SDK hands the request to its handlers, in whichever task they run."""


@dataclasses.dataclass
class Call:
    """One request to ``/mcp`` that was let in.

    Args:
        principal: whose credential it has.
        services: of the application.
        tools: the names of all tools that there are.
        target: what it is about, for its audit row.
        mime_type: what a resource that was read is; its template cannot say.
        carrier: who does what is approved: the client, by calling again, or the gateway.
        carrying: the approval that the gateway carries out with this call.
    """

    principal: Principal
    services: Services
    tools: frozenset[str]
    target: str = ""
    mime_type: str | None = None
    carrier: Literal["client", "gateway"] = "client"
    carrying: UUID | None = None


def call_of(request: Any) -> Call:
    """The call that a request is.

    Raises:
        LookupError: it did not come through our endpoint.
    """
    call = request.scope.get(KEY) if isinstance(request, Request) else None
    if not isinstance(call, Call):
        raise LookupError("a request for /mcp that nobody let in")
    return call


def call(context: Context[Any, Any] | Call) -> Call:
    """The call that a tool or a resource works for. The gateway's own commands give it in place of a context."""
    return context if isinstance(context, Call) else call_of(context.request_context.request)
