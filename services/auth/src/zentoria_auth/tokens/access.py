"""Access tokens: JSON Web Tokens of RFC 9068, signed with ES256, valid for 15 minutes."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from zentoria_auth.tokens.keys import ALGORITHM, SigningKeys

LIFETIME = 15 * 60
"""Seconds."""
TYPE = "at+jwt"
WEB_CLIENT = "zentoria-web"
MAX_TOKEN = 8192


class BadToken(Exception):
    """A token is not one of ours, or not for this use. The text is for logs, and holds nothing of the token."""


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a token says.

    Args:
        user_id: whose.
        role: ``owner`` or ``member``.
        sid: the session that it belongs to; ending the session ends the token.
        scopes: what it may do.
        amr: how the user showed who they are (RFC 8176).
        client_id: of an OAuth client, else :data:`WEB_CLIENT`.
        audience: the resource (RFC 8707) that it is for; the REST API's where it is None.
    """

    user_id: int
    role: str
    sid: uuid.UUID
    scopes: tuple[str, ...]
    amr: tuple[str, ...]
    client_id: str = WEB_CLIENT
    audience: str | None = None


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        keys: sign and verify.
        public_url: the issuer, as ``https://zentoria.example``, without a slash at its end.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: SigningKeys, public_url: str, clock: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self.issuer = public_url
        self._clock = clock

    @property
    def api_audience(self) -> str:
        """The audience of a session's token: the REST API."""
        return f"{self.issuer}/api"

    def issue(self, grant: Grant) -> str:
        """Make a token; it is valid for :data:`LIFETIME` seconds from now."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": str(grant.user_id),
            "aud": grant.audience or self.api_audience,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": str(uuid.uuid4()),
            "sid": str(grant.sid),
            "scope": " ".join(grant.scopes),
            "client_id": grant.client_id,
            "role": grant.role,
            "amr": list(grant.amr),
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self.keys.current.kid}
        return jwt.encode(header, claims, self.keys.current, algorithms=[ALGORITHM], default_type=TYPE)

    def verify(self, token: str, audiences: Collection[str] | None = None) -> dict[str, Any]:
        """Verify a token, and return its claims.

        Args:
            token: as it came.
            audiences: one of them must be the token's; the REST API's where it is None.

        Raises:
            BadToken: signature, type, key, issuer, audience or time is wrong.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise BadToken("not a token of ours")
        try:
            # The list of algorithms is ours, never the token's: no "none", no HMAC with the public key.
            parsed = jwt.decode(token, self.keys.verifying, algorithms=[ALGORITHM])
            if parsed.header.get("typ") != TYPE or parsed.header.get("kid") is None:
                raise BadToken("not an access token of ours")
            jwt.JWTClaimsRegistry(
                now=int(self._clock()),
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "values": list(audiences or (self.api_audience,))},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                sid={"essential": True},
            ).validate(parsed.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise BadToken(type(error).__name__) from None
        return dict(parsed.claims)
