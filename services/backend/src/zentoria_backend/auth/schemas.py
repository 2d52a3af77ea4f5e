"""Sign-in as clients see it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Email = Annotated[
    str, Field(min_length=3, max_length=320, pattern=r"^[^\x00\s]+@[^\x00\s]+$", examples=["ada@example.org"])
]
Password = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]+$", examples=["correct horse battery"])
]
RefreshToken = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_-]+$", examples=["ztr_4f1d_8Zk0"])
]


class PasskeyAnswer(BaseModel):
    """What a browser answered to a question."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$", description="of the question")]
    credential: Annotated[dict[str, Any], Field(description="of `navigator.credentials`, as JSON")]


class Login(BaseModel):
    """Who signs in: `email` and `password`, or `challenge` and `otp` (the second step), or `passkey`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"email": "ada@example.org", "password": "correct horse battery"},
                {"challenge": "of-the-first-step", "otp": "123456"},
            ]
        },
    )

    email: Email | None = None
    password: Password | None = None
    otp: Annotated[
        str | None,
        Field(
            max_length=100,
            pattern=r"^[A-Za-z0-9 -]+$",
            description="six digits of an authenticator app, or a recovery code",
            examples=["123456"],
        ),
    ] = None
    challenge: Annotated[str | None, Field(max_length=100, pattern=r"^[A-Za-z0-9._-]+$")] = None
    passkey: PasskeyAnswer | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        begun = [
            self.email is not None or self.password is not None,
            self.challenge is not None,
            self.passkey is not None,
        ]
        whole = [
            self.email is not None and self.password is not None,
            self.challenge is not None and self.otp is not None,
            self.passkey is not None,
        ]
        if sum(begun) != 1 or sum(whole) != 1:
            raise ValueError("give email and password, or challenge and otp, or passkey")
        return self


class PasskeyQuestion(BaseModel):
    """What a browser is asked."""

    model_config = ConfigDict(extra="ignore")

    id: str
    options: Annotated[dict[str, Any], Field(description="for `navigator.credentials`")]


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
