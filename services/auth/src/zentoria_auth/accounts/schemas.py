"""Accounts as they are seen from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Role = Literal["owner", "member"]
PersonName = Annotated[str, Field(max_length=200, examples=["Anna Example"])]
Password = Annotated[SecretStr, Field(max_length=1024)]
"""Longer ones are refused unread; the rules themselves are in :mod:`zentoria_auth.accounts.rules`."""


class Account(BaseModel):
    """An account, without anything secret."""

    model_config = ConfigDict(frozen=True)

    id: int
    email: str
    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None = None
    disabled: bool = False


class Me(Account):
    """The same, for the person whose it is."""

    has_password: bool
    has_totp: bool
    passkeys: int
    recovery_codes_left: int


class MeChange(BaseModel):
    """What a person may change of their account."""

    name: PersonName


class PasswordChange(BaseModel):
    """A new password; the present one too, unless the session is fresh."""

    new_password: Password
    current_password: Password | None = None
