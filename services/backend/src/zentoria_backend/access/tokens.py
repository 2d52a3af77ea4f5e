"""Access tokens of the auth service: JWTs (RFC 9068) that are verified with its public keys (JWKS)."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from zentoria_common.problems import Unavailable

from zentoria_backend.access.credentials import unauthorized

ALGORITHM = "ES256"
"""The only one: what a token's header says about it is compared, never followed (RFC 8725, section 3.1)."""
WEB_CLIENT = "zentoria-web"
LEEWAY = 5
"""Seconds that the clocks of two containers may differ."""
FRESH = 300.0
"""Seconds for which fetched keys are used without a question."""
RETRY = 5.0
"""Seconds between two fetches for keys that are not known, in the long run: a forged ``kid`` cannot make us a client
without rest."""
BURST = 3
"""Fetches that may follow each other at once: a new key is known at once although somebody has just forged one."""

_log = structlog.stdlib.get_logger("zentoria_backend.tokens")
_registry = JWSRegistry(algorithms=[ALGORITHM])


class Claims(BaseModel):
    """What a token says, with the types that RFC 9068 and our auth service give it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    iss: str
    aud: str | list[str]
    sub: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]
    exp: int
    iat: int
    nbf: int | None = None
    jti: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    sid: Annotated[UUID | None, Field(strict=False)] = None
    scope: Annotated[str, StringConstraints(max_length=2000)] = ""
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    role: Literal["owner", "member"]


class Keys(Protocol):
    """Where public keys come from."""

    async def get(self, kid: str) -> ECKey | None:
        """The key of that id.

        Raises:
            Unavailable: no keys are known and the auth service does not answer.
        """


@dataclasses.dataclass
class _Fetched:
    keys: dict[str, ECKey]
    at: float


class KeyCache:
    """The auth service's JWKS: fetched when first needed, again when old, and early when a token names a new ``kid``.

    While the auth service is away, the keys that are known go on to be used: whoever is signed in stays so.

    Args:
        fetch: asks for the JWKS document; raises anything when it cannot.
        clock: seconds, monotonic.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetched = _Fetched({}, float("-inf"))
        self._tried: collections.deque[float] = collections.deque([float("-inf")] * BURST, maxlen=BURST)
        self._running: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> ECKey | None:
        """The key of that id; callers that come while a fetch is on its way share it."""
        age = self._clock() - self._fetched.at
        known = self._fetched.keys.get(kid)
        if known is not None and age < FRESH:
            return known
        if self._running is not None or self._clock() - self._tried[0] >= RETRY * BURST:
            await self._refresh()
        if not self._fetched.keys:
            raise Unavailable("auth", "the sign-in service does not answer, and its keys are not known yet")
        return self._fetched.keys.get(kid)

    async def _refresh(self) -> None:
        if self._running is None:
            self._tried.append(self._clock())
            self._running = asyncio.create_task(self._load(), name="jwks")
            self._running.add_done_callback(self._done)
        await asyncio.shield(self._running)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._running = None

    async def _load(self) -> None:
        try:
            keys = parse_jwks(await self._fetch())
        except Exception as error:  # whatever the client or the document had: the known keys are kept
            _log.warning("keys of the auth service not fetched", error=type(error).__qualname__)
            return
        self._fetched = _Fetched(keys, self._clock())


def parse_jwks(document: bytes) -> dict[str, ECKey]:
    """The signing keys of a JWK set (RFC 7517), by ``kid``; keys of other kinds are passed over.

    Raises:
        ValueError: it is no JWK set.
    """
    loaded = json.loads(document)
    if not isinstance(loaded, dict) or not isinstance(loaded.get("keys"), list):
        raise ValueError("not a JWK set")
    keys: dict[str, ECKey] = {}
    for each in loaded["keys"]:
        if not isinstance(each, dict) or each.get("kty") != "EC" or each.get("crv") != "P-256":
            continue
        if each.get("use", "sig") != "sig" or each.get("alg", ALGORITHM) != ALGORITHM or "d" in each:
            continue
        kid = each.get("kid")
        if isinstance(kid, str) and kid:
            keys[kid] = ECKey.import_key(each)
    return keys


class TokenVerifier:
    """Says whether a token is one of ours.

    Args:
        keys: of the auth service.
        issuer: the site's public URL.
        now: Unix time, seconds.
    """

    def __init__(self, keys: Keys, issuer: str, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._now = now

    async def verify(self, token: str, audience: str) -> Claims:
        """Check signature, issuer, audience and times (RFC 9068, section 4).

        Raises:
            Problem: 401 with the reason.
            Unavailable: no keys can be had.
        """
        header = _header(token)
        key = await self._keys.get(header["kid"])
        if key is None:
            raise unauthorized("the token is signed with a key that the sign-in service does not have")
        try:
            decoded = jwt.decode(token, key, algorithms=[ALGORITHM], registry=_registry)
            claims = Claims.model_validate(decoded.claims)
        except (JoseError, ValueError, RecursionError):  # ValidationError is a ValueError
            raise unauthorized("the token's signature or form is wrong") from None
        now = self._now()
        if claims.iss != self._issuer:
            raise unauthorized("the token is another issuer's")
        if audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise unauthorized("the token is for another audience")
        if now >= claims.exp + LEEWAY:
            raise unauthorized("the token has expired")
        if max(claims.iat, claims.nbf or 0) > now + LEEWAY:
            raise unauthorized("the token is not valid yet")
        return claims


def _header(token: str) -> dict[str, Any]:
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, RecursionError, AttributeError, TypeError):
        raise unauthorized("the token is no signed JWT") from None
    if header.get("alg") != ALGORITHM:
        raise unauthorized(f"the token is not signed with {ALGORITHM}")
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != "at+jwt":
        raise unauthorized("the token is no access token (typ at+jwt)")
    if not isinstance(header.get("kid"), str) or "crit" in header or "jwk" in header or "jku" in header:
        raise unauthorized("the token's header is not one of ours")
    return header
