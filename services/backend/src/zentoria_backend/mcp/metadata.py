"""Where a client of ``/mcp`` gets its token: protected-resource metadata (RFC 9728)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from zentoria_backend.access.rules import RULES
from zentoria_backend.services import ServicesDep

WELL_KNOWN = "/.well-known/oauth-protected-resource"
RESOURCE = "/mcp"
SELDOM = frozenset({"audit:read", "sessions:read", "settings:read"})
"""Scopes of tools that few clients need."""

router = APIRouter(tags=["mcp"])


class ProtectedResource(BaseModel):
    """The metadata, with the names of RFC 9728, section 2."""

    resource: str
    authorization_servers: list[str]
    scopes_supported: list[str]
    bearer_methods_supported: list[str] = ["header"]
    resource_name: str = "Zentoria"


def tool_scopes() -> list[str]:
    """Every scope that some tool wants."""
    return sorted({rule.scope for rule in RULES if rule.method == "TOOL" and rule.scope})


def reading_scopes() -> list[str]:
    """What a client is told to ask for first: it changes nothing, and shows what its user works with.

    A client asks for more when a tool wants it.
    """
    return [scope for scope in tool_scopes() if scope.endswith(":read") and scope not in SELDOM]


@router.get(WELL_KNOWN, summary="Metadata of the protected resource")
@router.get(WELL_KNOWN + RESOURCE, summary="Metadata of the protected resource /mcp")
async def protected_resource(services: ServicesDep, response: Response) -> ProtectedResource:
    """Say which authorization server gives tokens for ``/mcp``, and for which scopes (RFC 9728)."""
    response.headers["cache-control"] = "public, max-age=300"
    response.headers["access-control-allow-origin"] = "*"  # nothing here belongs to anybody
    public = services.settings.public_url
    return ProtectedResource(resource=public + RESOURCE, authorization_servers=[public], scopes_supported=tool_scopes())
