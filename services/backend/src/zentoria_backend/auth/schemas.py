"""Sign-in as clients see it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Email = Annotated[
    str, Field(min_length=3, max_length=320, pattern=r"^[^\x00\s]+@[^\x00\s]+$", examples=["ada@example.org"])
]
Password = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]+$", examples=["correct horse battery"])
]
RefreshToken = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_-]+$", examples=["ztr_4f1d_8Zk0"])
]


class Login(BaseModel):
    """Who signs in: address and password, or the second step of it, or a passkey."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None = None
    password: Password | None = None
    otp: Annotated[str | None, Field(max_length=64, pattern=r"^[A-Za-z0-9 -]+$", examples=["123456"])] = None
    challenge: Annotated[str | None, Field(max_length=512, pattern=r"^[A-Za-z0-9._-]+$")] = None


class Refresh(BaseModel):
    """A refresh token. It is good once; the answer has its successor."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: RefreshToken


class SignedInUser(BaseModel):
    """The account."""

    model_config = ConfigDict(extra="ignore")

    id: int
    email: str
    name: str
    role: Literal["owner", "member"]


class Tokens(BaseModel):
    """What a sign-in gives."""

    model_config = ConfigDict(extra="ignore")

    access_token: Annotated[str, Field(description="for `Authorization: Bearer`, good for `expires_in` seconds")]
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: Annotated[str, Field(description="good once, for `refresh_expires_in` seconds")]
    refresh_expires_in: int
    user: SignedInUser


Body = dict[str, Any]
