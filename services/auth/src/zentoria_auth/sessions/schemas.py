"""Sessions and tokens as they are seen from outside."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from zentoria_auth.accounts.schemas import Role


class TokenUser(BaseModel):
    """Whose tokens they are."""

    id: int
    email: str
    name: str
    role: Role


class TokenAnswer(BaseModel):
    """Tokens of a session; times in seconds."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the word that RFC 6750 has for it
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    user: TokenUser


class SessionShown(BaseModel):
    """A place where somebody is signed in."""

    model_config = ConfigDict(frozen=True)

    id: uuid.UUID
    kind: Literal["web", "pages", "client"]
    """``web``: the application; ``pages``: the sign-in pages' own; ``client``: a program that was allowed in."""
    client_id: str | None
    name: str
    scopes: list[str]
    ip_address: str | None
    user_agent: str | None
    amr: list[str]
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool = False


class SessionList(BaseModel):
    """One's own sessions, the newest first; there is no second page."""

    items: list[SessionShown]
    next_cursor: None = None
