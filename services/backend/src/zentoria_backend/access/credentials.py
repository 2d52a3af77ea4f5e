"""The one place where a credential is taken out of a request."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope
from zentoria_common.problems import Problem

MAX_LENGTH = 8192
"""Of a credential, in characters: no token of ours is longer."""

_KEY = re.compile(r"zt_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_IN_QUERY = frozenset({"access_token", "api_key", "apikey", "x-api-key"})


@dataclasses.dataclass(frozen=True)
class KeyCredential:
    """An API key ``zt_<prefix>_<secret>``."""

    prefix: str
    text: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class TokenCredential:
    """A bearer token that is no API key."""

    text: str = dataclasses.field(repr=False)


Credential = KeyCredential | TokenCredential


def extract(scope: Scope) -> Credential | None:
    """Take the credential out of a request.

    A bearer token or an API key stands in ``Authorization: Bearer``; an API key may stand in ``X-API-Key`` instead.

    Args:
        scope: of an HTTP request or a WebSocket handshake.

    Returns:
        None where the request has none.

    Raises:
        Problem: 400 for two credentials or one in the URL, where logs and histories keep it (RFC 6750, section 5.3);
            401 for one that is none of ours by its form.
    """
    headers = Headers(scope=scope)
    found = [("authorization", value) for value in headers.getlist("authorization")]
    found += [("x-api-key", value) for value in headers.getlist("x-api-key")]
    query = scope.get("query_string", b"")
    if query and any(name.lower() in _IN_QUERY for name, _ in parse_qsl(query.decode("latin-1"))):
        raise Problem(
            400,
            "a credential stands in the URL: send it in the header Authorization",
            kind="credential-in-url",
        )
    if len(found) > 1:
        raise Problem(
            400,
            f"the request has {len(found)} credentials: send one, in Authorization or in X-API-Key",
            kind="two-credentials",
        )
    if not found:
        return None
    name, value = found[0]
    if len(value) > MAX_LENGTH:
        raise unauthorized(f"the credential is longer than {MAX_LENGTH} characters")
    if name == "x-api-key":
        return _key(value)
    scheme, _, text = value.partition(" ")
    text = text.strip(" ")
    if scheme.lower() != "bearer":
        raise unauthorized("Authorization takes the scheme Bearer")
    if text.startswith("zt_"):
        return _key(text)
    if not _TOKEN68.fullmatch(text):
        raise unauthorized("the bearer token is not well formed (RFC 6750, section 2.1)")
    return TokenCredential(text)


def _key(text: str) -> KeyCredential:
    match = _KEY.fullmatch(text)
    if match is None:
        raise unauthorized("the API key is not well formed: zt_<prefix>_<secret>")
    return KeyCredential(match[1], text)


def unauthorized(detail: str, *, error: str = "invalid_token", **members: object) -> Problem:
    """A 401 with the challenge that RFC 6750, section 3, asks for.

    Args:
        detail: what is wrong; without any part of the credential.
        error: the challenge's code; empty where the request had no credential at all.
        members: further ones of the problem document.
    """
    challenge = 'Bearer realm="zentoria"' + (f', error="{error}"' if error else "")
    return Problem(
        401,
        detail,
        kind="invalid-credential" if error else "no-credential",
        headers={"www-authenticate": challenge},
        **members,
    )


def insufficient(scope: str) -> Problem:
    """A 403 that names the scope that is missing, so that a client can ask its user for it (RFC 6750, section 3.1)."""
    return Problem(
        403,
        f"the credential does not have the scope {scope}",
        kind="insufficient-scope",
        headers={"www-authenticate": f'Bearer realm="zentoria", error="insufficient_scope", scope="{scope}"'},
        scope=scope,
    )
