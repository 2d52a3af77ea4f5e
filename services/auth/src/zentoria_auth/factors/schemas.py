"""Second factors as they are seen from outside."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr

from zentoria_auth.accounts.schemas import Password

PasskeyName = Annotated[str, Field(max_length=100, examples=["Anna's laptop"])]


class Proof(BaseModel):
    """The present password, where the session's sign-in is not recent."""

    current_password: Password | None = None


class TotpSecret(BaseModel):
    """What an authenticator app is given; it is shown once."""

    secret: str
    uri: str


class TotpCode(BaseModel):
    """The first code that the app shows."""

    code: Annotated[SecretStr, Field(max_length=20)]


class Codes(BaseModel):
    """Recovery codes; they are shown once. None, where earlier ones are still good."""

    recovery_codes: list[str]


class PasskeyShown(BaseModel):
    """A passkey."""

    id: uuid.UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None
    backed_up: bool


class PasskeyList(BaseModel):
    """One's own passkeys; there is no second page."""

    items: list[PasskeyShown]
    next_cursor: None = None


class PasskeyMade(BaseModel):
    """What the browser made."""

    id: Annotated[str, Field(min_length=1, max_length=100)]
    credential: dict[str, Any]
    name: PasskeyName = ""


class PasskeyAdded(Codes):
    """It is kept."""

    id: uuid.UUID


class PasskeyRename(BaseModel):
    """Another name for it."""

    name: PasskeyName
