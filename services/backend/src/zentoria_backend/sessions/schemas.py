"""Where one is signed in."""

from __future__ import annotations

import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class SessionShown(BaseModel):
    """One place."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    kind: Annotated[str, Field(description="`web`, `pages` (the sign-in pages' own) or `client`", examples=["web"])]
    client_id: str | None = None
    name: str = ""
    scopes: list[str] = []
    ip_address: str | None = None
    user_agent: str | None = None
    amr: Annotated[list[str], Field(description="how one signed in (RFC 8176)", examples=[["pwd", "otp"]])] = []
    created_at: datetime.datetime
    last_seen_at: datetime.datetime
    expires_at: datetime.datetime
    current: Annotated[bool, Field(description="the one that asks")] = False
