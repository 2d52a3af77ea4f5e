"""The routers of the application, one line each, and which of their paths answer browsers."""

from __future__ import annotations

from fastapi import APIRouter

from zentoria_auth.accounts import api as accounts
from zentoria_auth.factors import api as factors
from zentoria_auth.oauth import api as oauth
from zentoria_auth.oauth import internal as grants
from zentoria_auth.pages import security, static_files
from zentoria_auth.pages import setup as setup_pages
from zentoria_auth.pages import signin as signin_pages
from zentoria_auth.providers import api as providers
from zentoria_auth.providers import internal as identities
from zentoria_auth.sessions import api as sessions
from zentoria_auth.setup import api as setup
from zentoria_auth.signin import api as signin
from zentoria_auth.tokens import api as tokens

ROUTERS: tuple[APIRouter, ...] = (
    accounts.router,
    factors.router,
    grants.router,
    identities.router,
    oauth.router,
    providers.router,
    sessions.router,
    setup.router,
    security.router,
    setup_pages.router,
    signin.router,
    signin_pages.router,
    static_files.router,
    tokens.router,
)

PUBLIC = ("/.well-known/", "/auth/", "/oauth/")
"""Paths that answer whoever comes: through the proxy those are browsers. Everything else is for containers."""
