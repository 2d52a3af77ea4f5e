"""Public keys, for all who verify our tokens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from zentoria_auth.services import ServicesDep

router = APIRouter(tags=["tokens"])
MAX_AGE = 300
"""Seconds for which the keys may be kept. A new key must be published for as long before it signs; until then a
verifier that meets an unknown ``kid`` asks again."""


@router.get("/.well-known/jwks.json")
async def jwks(services: ServicesDep, response: Response) -> dict[str, Any]:
    """The keys that verify access tokens (RFC 7517)."""
    response.headers["cache-control"] = f"public, max-age={MAX_AGE}"
    return services.tokens.keys.jwks()
