"""An account, as its owner sees it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

PersonName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=["Ada Lovelace"])]
Password = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]*$", examples=["correct horse battery"])
]


class Me(BaseModel):
    """The caller's account."""

    model_config = ConfigDict(extra="ignore")

    id: Annotated[int, Field(examples=[123])]
    email: Annotated[str, Field(examples=["ada@example.org"])]
    name: Annotated[str, Field(examples=["Ada Lovelace"])]
    role: Literal["owner", "member"]
    created_at: datetime.datetime
    last_login_at: datetime.datetime | None = None
    has_password: bool = False
    has_totp: bool = False
    passkeys: int = 0
    recovery_codes_left: int = 0


class MeChange(BaseModel):
    """What may be changed of it."""

    model_config = ConfigDict(extra="forbid")

    name: PersonName


class Proof(BaseModel):
    """The present password, unless one has signed in a moment ago."""

    model_config = ConfigDict(extra="forbid")

    current_password: Password | None = None


class TotpSecret(BaseModel):
    """What an authenticator app is given; it is shown this once."""

    model_config = ConfigDict(extra="ignore")

    secret: str
    uri: Annotated[str, Field(description="`otpauth://...`, for a QR code")]


class TotpCode(BaseModel):
    """The first code that the app shows."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=6, max_length=20, pattern=r"^[0-9 ]+$", examples=["123456"])]


class Codes(BaseModel):
    """Recovery codes; they are shown this once. None, where earlier ones are still good."""

    model_config = ConfigDict(extra="ignore")

    recovery_codes: list[str]


class PasskeyShown(BaseModel):
    """A passkey."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    name: str
    created_at: datetime.datetime
    last_used_at: datetime.datetime | None
    backed_up: bool


class PasskeyMade(BaseModel):
    """What the browser made."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$", description="of the question")]
    credential: dict[str, Any]
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$", examples=["Ada's laptop"])] = ""


class PasskeyAdded(Codes):
    """It is kept."""

    id: UUID


class PasswordChange(BaseModel):
    """A new password; with the present one, unless one has signed in a moment ago."""

    model_config = ConfigDict(extra="forbid")

    new_password: Password
    current_password: Password | None = None
