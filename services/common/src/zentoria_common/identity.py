"""Who calls, and for whom: two short-lived tokens between containers, beside what the firewall says.

``Zentoria-Caller`` says which container calls. It signs with a key of its own; the one that is called has the public
keys of exactly those containers that have a flow to it. ``Zentoria-User`` says for which user the gateway has it done,
with which scopes, and is for one container: what the gateway did not sign is nobody's. Both are JWTs (RFC 7519) signed
with Ed25519 (RFC 9864) and of types of their own, so that neither is taken for the other, or for an access token.

A token lives for a minute or two and holds for one container, so that what leaks is soon worth nothing. Whether it was
used before is not remembered: whoever can read the traffic between two containers has the answers as well.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from zentoria_common import scopes as scope_names
from zentoria_common.problems import Problem
from zentoria_common.settings import SettingsError

CALLER_HEADER = "zentoria-caller"
USER_HEADER = "zentoria-user"
CALLER_SECONDS = 60
USER_SECONDS = 120
SKEW_SECONDS = 5
"""How far the clocks of two containers may be apart: they are those of one node."""
MAX_TOKEN_CHARACTERS = 4096
GATEWAYS = frozenset({"backend"})
"""Containers that may speak for users."""

_ALGORITHM = "Ed25519"
_CALLER_TYPE, _USER_TYPE = "zentoria-caller+jwt", "zentoria-user+jwt"
_log = structlog.stdlib.get_logger("zentoria_common.identity")


@dataclasses.dataclass(frozen=True)
class OnBehalf:
    """The user for whom something is done, and what this may be."""

    user_id: int
    scopes: frozenset[str]
    sid: str = ""
    """The session, where there is one."""


class IdentityError(Exception):
    """A token is missing or is not what it should be. The text says why, and nothing of the token."""


class Identity:
    """What a container shows to others.

    Args:
        name: the container's.
        key: its private key, Ed25519 in PEM form (PKCS #8).

    Raises:
        SettingsError: the key is of another kind, or none.
    """

    def __init__(self, name: str, key: SecretStr) -> None:
        self.name = name
        try:
            self._key = OKPKey.import_key(key.get_secret_value(), {"kid": name})
            if self._key.curve_name != "Ed25519" or not self._key.is_private:
                raise ValueError
        except (JoseError, ValueError, TypeError, AttributeError):
            raise SettingsError("ZENTORIA_IDENTITY_KEY_FILE: holds no private key of Ed25519 in PEM form") from None

    def headers(self, audience: str, user: OnBehalf | None = None) -> dict[str, str]:
        """Headers of one call.

        Args:
            audience: the container that is called.
            user: for whom; the gateway alone may say so.
        """
        found = {CALLER_HEADER: self._token(_CALLER_TYPE, audience, CALLER_SECONDS, {"jti": uuid.uuid4().hex})}
        if user is not None:
            claims = {"sub": str(user.user_id), "scope": scope_names.text(user.scopes), "sid": user.sid}
            found[USER_HEADER] = self._token(_USER_TYPE, audience, USER_SECONDS, claims)
        return found

    def public_jwk(self) -> dict[str, Any]:
        """The public half, as it stands in the files of others."""
        return public_jwk(self.name, self._key)

    def _token(self, kind: str, audience: str, seconds: int, claims: dict[str, str]) -> str:
        now = int(time.time())
        header = {"alg": _ALGORITHM, "kid": self.name, "typ": kind}
        whole = {"iss": self.name, "aud": audience, "iat": now, "exp": now + seconds, **claims}
        return jwt.encode(header, whole, self._key, algorithms=[_ALGORITHM])


def public_jwk(name: str, key: OKPKey) -> dict[str, Any]:
    """The public half of a container's key as a JWK (RFC 8037), with the container's name as its id."""
    public = key.as_dict(private=False)
    return {"kty": public["kty"], "crv": public["crv"], "x": public["x"], "kid": name}


class Callers:
    """Checks what others show.

    Args:
        name: of the container that is called.
        keys: public keys of those that may call.
        gateways: those of them that may speak for users.
    """

    def __init__(self, name: str, keys: Iterable[OKPKey], gateways: Collection[str] = GATEWAYS) -> None:
        self._name = name
        self._keys = {str(key.kid): key for key in keys}
        self._gateways = frozenset(gateways)

    @classmethod
    def read(cls, name: str, path: Path | None, gateways: Collection[str] = GATEWAYS) -> Callers:
        """Read the JWK set. Without a file nobody may call.

        Raises:
            SettingsError: the file cannot be read, or holds something else.
        """
        if path is None:
            return cls(name, (), gateways)
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))["keys"]
            keys = [OKPKey.import_key({name: one[name] for name in ("kty", "crv", "x", "kid")}) for one in listed]
        except OSError as error:
            raise SettingsError(f"ZENTORIA_CALLERS_FILE: {path}: {error.strerror}") from None
        except (JoseError, ValueError, KeyError, TypeError):
            raise SettingsError(f"ZENTORIA_CALLERS_FILE: {path} holds no JWK set of Ed25519 keys") from None
        return cls(name, keys, gateways)

    def caller(self, token: str) -> str:
        """The container that shows ``token``.

        Raises:
            IdentityError: it is none that may call here, or not now.
        """
        return str(self._claims(token, _CALLER_TYPE, CALLER_SECONDS)["iss"])

    def on_behalf(self, token: str) -> OnBehalf:
        """The user of whom ``token`` speaks.

        Raises:
            IdentityError: it was not made by the gateway for this container, or not now.
        """
        claims = self._claims(token, _USER_TYPE, USER_SECONDS)
        if claims["iss"] not in self._gateways:
            raise IdentityError("no container but the gateway speaks for users")
        subject, scope = claims.get("sub"), claims.get("scope")
        if not isinstance(subject, str) or not subject.isascii() or not subject.isdecimal() or len(subject) > 19:
            raise IdentityError("its subject is no user")
        try:
            found = scope_names.parse(scope if isinstance(scope, str) else "")
        except scope_names.UnknownScope as error:
            raise IdentityError(str(error)) from None
        return OnBehalf(int(subject), found, str(claims.get("sid") or ""))

    def _claims(self, token: str, kind: str, longest: int) -> dict[str, Any]:
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise IdentityError("no token, or one that is too long")
        try:
            decoded = jwt.decode(token, self._find, algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise IdentityError(f"not signed by a container that may call here ({type(error).__name__})") from None
        header, claims = decoded.header, decoded.claims
        if header.get("typ") != kind:
            raise IdentityError("of another type")
        if claims.get("iss") != header.get("kid"):
            raise IdentityError("signed by another one than it names")
        if claims.get("aud") != self._name:
            raise IdentityError("for another container")
        start, end, now = claims.get("iat"), claims.get("exp"), time.time()
        if type(start) is not int or type(end) is not int or not 0 < end - start <= longest:
            raise IdentityError("without times, or made for too long")
        if now > end + SKEW_SECONDS or now < start - SKEW_SECONDS:
            raise IdentityError("expired, or not valid yet")
        return claims

    def _find(self, guest: Any) -> OKPKey:
        found = self._keys.get(str(guest.headers().get("kid")))
        if found is None:
            raise ValueError("unknown kid")
        return found


class CallerAuth:
    """Pure ASGI middleware: no route but a public one answers whoever does not show a valid ``Zentoria-Caller``.

    ``request.state.caller`` is the container's name, ``request.state.on_behalf`` an :class:`OnBehalf` or None; on a
    public path both are None. A header that comes twice is refused, for two readers could each take another one.

    Args:
        app: the application.
        callers: who may call.
        public: paths, or beginnings of paths that end with ``/``, that answer everybody: health, metrics, and pages for
            browsers.
    """

    def __init__(self, app: ASGIApp, *, callers: Callers, public: Collection[str] = ()) -> None:
        self._app = app
        self._callers = callers
        self._exact = frozenset(path for path in public if not path.endswith("/"))
        self._prefixes = tuple(path for path in public if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["caller"] = state["on_behalf"] = None
        if not self._is_public(scope["path"]):
            try:
                state["caller"], state["on_behalf"] = self._check(Headers(scope=scope))
            except IdentityError as error:
                _log.warning("caller refused", reason=str(error))
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                refusal = Problem(401, "this service answers containers that show who they are", kind="caller-unknown")
                await refusal.response()(scope, receive, send)
                return
            structlog.contextvars.bind_contextvars(caller=state["caller"])
        await self._app(scope, receive, send)

    def _is_public(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._prefixes)

    def _check(self, headers: Headers) -> tuple[str, OnBehalf | None]:
        shown, users = headers.getlist(CALLER_HEADER), headers.getlist(USER_HEADER)
        if len(shown) != 1 or len(users) > 1:
            raise IdentityError("no caller, or a header more than once")
        return self._callers.caller(shown[0]), self._callers.on_behalf(users[0]) if users else None
