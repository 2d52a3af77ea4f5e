"""The routers of the application, one line each, and which of their paths answer browsers."""

from __future__ import annotations

from fastapi import APIRouter

from zentoria_auth.oauth import api as oauth
from zentoria_auth.tokens import api as tokens

ROUTERS: tuple[APIRouter, ...] = (
    oauth.router,
    tokens.router,
)

PUBLIC = ("/.well-known/", "/auth/", "/oauth/")
"""Paths that answer whoever comes: through the proxy those are browsers. Everything else is for containers."""
