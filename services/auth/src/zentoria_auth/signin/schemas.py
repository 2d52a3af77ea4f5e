"""What sign-in takes from the gateway."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from zentoria_auth.accounts.schemas import Password
from zentoria_auth.peer import Peer


class ClientInfo(BaseModel):
    """The client for which the gateway asks."""

    model_config = ConfigDict(frozen=True)

    ip: Annotated[str | None, Field(max_length=64)] = None
    user_agent: Annotated[str | None, Field(max_length=4096)] = None

    @property
    def peer(self) -> Peer:
        """The same, cleaned."""
        return Peer.of(self.ip, self.user_agent)


class PasskeyAnswer(BaseModel):
    """What a browser answered to a question."""

    id: Annotated[str, Field(min_length=1, max_length=100)]
    credential: dict[str, Any]


class LoginRequest(BaseModel):
    """Name and password (with a code, if there is one), or the second step alone, or a passkey."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"email": "anna@example.org", "password": "four words or more", "client": {"ip": "192.0.2.10"}},
                {"challenge": "of the first step", "otp": "123456", "client": {"ip": "192.0.2.10"}},
            ]
        },
    )

    email: Annotated[str | None, Field(max_length=1024)] = None
    password: Password | None = None
    otp: Annotated[SecretStr | None, Field(max_length=100)] = None
    """Six digits of an authenticator app, or a recovery code."""
    challenge: Annotated[str | None, Field(max_length=100)] = None
    passkey: PasskeyAnswer | None = None
    client: ClientInfo = ClientInfo()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [
            self.email is not None and self.password is not None,
            self.challenge is not None and self.otp is not None,
            self.passkey is not None,
        ]
        given = [self.email is not None or self.password is not None, self.challenge is not None, ways[2]]
        if sum(ways) != 1 or sum(given) != 1:
            raise ValueError("give email and password, or challenge and otp, or passkey")
        return self


class RefreshRequest(BaseModel):
    """A refresh token to be spent."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=200)]
    client: ClientInfo = ClientInfo()


class LogoutRequest(BaseModel):
    """A session to be ended: by its refresh token, or by its id where the gateway knows whose it is."""

    refresh_token: Annotated[SecretStr | None, Field(max_length=200)] = None
    sid: Annotated[str | None, Field(max_length=36)] = None
    client: ClientInfo = ClientInfo()


class PasskeyQuestion(BaseModel):
    """What a browser is asked, for ``navigator.credentials``."""

    id: str
    options: dict[str, Any]
