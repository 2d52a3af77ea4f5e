"""An account, as its owner sees it."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

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


class PasswordChange(BaseModel):
    """A new password; with the present one, unless one has signed in a moment ago."""

    model_config = ConfigDict(extra="forbid")

    new_password: Password
    current_password: Password | None = None
