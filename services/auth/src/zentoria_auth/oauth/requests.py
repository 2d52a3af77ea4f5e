"""Requests to the authorization and token endpoints, taken apart and judged; nothing here asks anybody."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_plus

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from zentoria_common import scopes as all_scopes

from zentoria_auth.oauth import redirects
from zentoria_auth.oauth.clients import Client
from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.sessions.service import Account

MAX_VALUE = 4096
DEFAULT_SCOPES = ("files:read", "jobs:read", "profile:read", "search:read", "workflows:read")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # BASE64URL of a SHA-256 (RFC 7636 section 4.2)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 section 3.3
_STATE = re.compile(r"[\x20-\x7e]+")  # RFC 6749 appendix A.5


@dataclasses.dataclass(frozen=True)
class Offer:
    """What this server hands out access to."""

    issuer: str
    resources: tuple[str, ...]
    """The audiences a client may ask for; the first is meant where it names none."""
    scopes: frozenset[str]
    default_scopes: tuple[str, ...]
    """What a client gets that asks for nothing by name."""


def make_offer(public_url: str) -> Offer:
    """What a server at ``public_url`` (no slash at its end) hands out access to: MCP, and the REST API."""
    return Offer(
        issuer=public_url,
        resources=(f"{public_url}/mcp", f"{public_url}/api"),
        scopes=frozenset(all_scopes.SCOPES),
        default_scopes=DEFAULT_SCOPES,
    )


def role_of(account: Account) -> all_scopes.Role:
    """The role, as the table of scopes has it."""
    return "owner" if account.role == "owner" else "member"


@dataclasses.dataclass(frozen=True)
class AuthorizationRequest:
    """A request to the authorization endpoint that may be shown to the user."""

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    """The token request must repeat it only then (RFC 6749 section 4.1.3)."""
    scopes: tuple[str, ...]
    resource: str
    code_challenge: str
    state: str | None
    prompt: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The code for a client, or None: the user has to be asked first, with ``allowed`` of earlier."""

    code: str | None
    allowed: tuple[str, ...] = ()


def single(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters, each of which may stand there once; empty ones count as left out (RFC 6749 section 3.1).

    Raises:
        OAuthError: ``invalid_request``; for a second ``resource`` ``invalid_target`` (RFC 8707 section 2).
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if not value:
            continue
        if name in found:
            if name == "resource":
                raise OAuthError("invalid_target", "a token is for one resource: ask for each by itself")
            raise OAuthError("invalid_request", "a parameter stands there more than once")
        if len(value) > MAX_VALUE:
            raise OAuthError("invalid_request", f"a parameter is longer than {MAX_VALUE} characters")
        found[name] = value
    return found


def redirect_of(client: Client, parameters: dict[str, str]) -> str:
    """Where the answer goes. Until this is known, an error is shown and not sent.

    Raises:
        OAuthError: ``invalid_request``: it is not one of the client's.
    """
    registered = client.metadata.redirect_uris
    requested = parameters.get("redirect_uri")
    if requested is None:
        if len(registered) == 1 and not redirects.is_loopback(registered[0]):
            return registered[0]
        raise OAuthError("invalid_request", "redirect_uri is missing, and the client has not exactly one")
    if not redirects.matches(registered, requested):
        raise OAuthError("invalid_request", "redirect_uri is not one that the client has registered")
    return requested


def authorization(client: Client, redirect_uri: str, parameters: dict[str, str], offer: Offer) -> AuthorizationRequest:
    """Judge what is left of an authorization request.

    Raises:
        OAuthError: to be sent to ``redirect_uri``.
    """
    if "request" in parameters or "request_uri" in parameters:
        kind = "request" if "request" in parameters else "request_uri"
        raise OAuthError(f"{kind}_not_supported", "request objects are not supported")
    response_type = parameters.get("response_type")
    if response_type is None:
        raise OAuthError("invalid_request", "response_type is missing")
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if not client.may("authorization_code"):
        raise OAuthError("unauthorized_client", "the client has not registered the authorization code grant")
    if parameters.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be query")
    challenge = parameters.get("code_challenge", "")
    if not _CHALLENGE.fullmatch(challenge) or parameters.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "PKCE is required: code_challenge, and code_challenge_method S256")
    state = parameters.get("state")
    if state is not None and not _STATE.fullmatch(state):
        raise OAuthError("invalid_request", "state is printable ASCII")
    return AuthorizationRequest(
        client_id=client.id,
        redirect_uri=redirect_uri,
        redirect_uri_given="redirect_uri" in parameters,
        scopes=scopes_of(client, parameters.get("scope"), offer),
        resource=resource_of(parameters.get("resource"), offer),
        code_challenge=challenge,
        state=state,
        prompt=frozenset(parameters.get("prompt", "").split()),
    )


def scopes_of(client: Client, asked: str | None, offer: Offer) -> tuple[str, ...]:
    """The scopes to ask the user for, sorted. Those that this server does not have are left out (RFC 6749 section 3.3).

    Raises:
        OAuthError: ``invalid_scope``: it is not a list of scopes, or none of them is ours.
    """
    if asked is None:
        registered = frozenset(client.metadata.scope.split()) & offer.scopes
        return tuple(sorted(registered or offer.default_scopes))
    if not _SCOPE.fullmatch(asked):
        raise OAuthError("invalid_scope", "scope is a list of names with one space between them")
    known = offer.scopes.intersection(asked.split(" "))
    if not known:
        raise OAuthError("invalid_scope", "none of these scopes exists: scopes_supported of the metadata has them all")
    return tuple(sorted(known))


def resource_of(asked: str | None, offer: Offer) -> str:
    """The audience of the token (RFC 8707 section 2).

    Raises:
        OAuthError: ``invalid_target``.
    """
    if asked is None:
        return offer.resources[0]
    if asked not in offer.resources:
        raise OAuthError("invalid_target", f"resource must be one of: {' '.join(offer.resources)}")
    return asked


def check_verifier(challenge: str, verifier: str | None) -> None:
    """See whether ``verifier`` is what ``challenge`` was made of (RFC 7636 section 4.6).

    Raises:
        OAuthError: ``invalid_grant``; without a well-formed verifier ``invalid_request``.
    """
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_request", "code_verifier is missing or not of 43 to 128 unreserved characters")
    if create_s256_code_challenge(verifier) != challenge:
        raise OAuthError("invalid_grant", "code_verifier does not belong to the code_challenge of this code")


def client_credentials(authorization_headers: Sequence[str], form: dict[str, str]) -> tuple[str, str | None]:
    """The client's id and secret, from the header or from the form.

    Raises:
        OAuthError: ``invalid_client`` where there is none, ``invalid_request`` where there are two (RFC 6749 section
            2.3: not more than one method).
    """
    if not authorization_headers:
        if "client_id" not in form:
            raise OAuthError("invalid_client", "client_id is missing", 401)
        return form["client_id"], form.get("client_secret")
    if len(authorization_headers) > 1 or "client_secret" in form:
        raise OAuthError("invalid_request", "the client shows who it is in more than one way")
    scheme, _, encoded = authorization_headers[0].partition(" ")
    if scheme.lower() != "basic":
        raise OAuthError("invalid_client", "a client shows who it is with Basic, or in the form", 401)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise OAuthError("invalid_client", "the Authorization header is not Basic's base64", 401) from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise OAuthError("invalid_client", "the Authorization header has no colon between id and secret", 401)
    # each is form-encoded before (RFC 6749 section 2.3.1)
    client_id = unquote_plus(name)
    if form.get("client_id", client_id) != client_id:
        raise OAuthError("invalid_request", "client_id in the form is another than in the header")
    return client_id, unquote_plus(secret)
