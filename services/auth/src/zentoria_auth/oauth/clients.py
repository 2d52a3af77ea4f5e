"""Clients: who asks for access. Registered ones, and those whose id is the URL of their metadata."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zentoria_auth.oauth import redirects
from zentoria_auth.oauth.errors import OAuthError

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANTS = ("authorization_code", "refresh_token", DEVICE_GRANT)
MAX_DOCUMENT_BYTES = 10 * 1024
# draft-ietf-oauth-client-id-metadata-document section 2: https, a path, no dot segments, no userinfo, no fragment. A
# query is discouraged there and refused here.
_DOCUMENT_URL = re.compile(
    r"https://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)"
)
_DOT_SEGMENT = re.compile(r"/(?:\.|%2[eE]){1,2}(?=/|$)")
_SECRETS = ("client_secret", "client_secret_expires_at")

_Text = Annotated[str, Field(max_length=200)]
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]


class ClientMetadata(BaseModel):
    """What a client says about itself (RFC 7591 section 2); what this server has no use for is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    redirect_uris: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"  # noqa: S105 - a method's name (RFC 7591)
    grant_types: tuple[str, ...] = ("authorization_code",)
    response_types: tuple[str, ...] = ("code",)
    client_name: _Text = ""
    client_uri: Annotated[str, Field(max_length=500)] = ""
    scope: Annotated[str, Field(max_length=2000)] = ""
    software_id: _Text = ""
    software_version: _Text = ""

    @field_validator("client_name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        # Characters that turn or hide text would let a name look like another on the consent page.
        return "".join(character for character in name if character.isprintable()).strip()

    @field_validator("client_uri")
    @classmethod
    def _link(cls, uri: str) -> str:
        if uri and not uri.startswith(("https://", "http://")):
            raise ValueError("client_uri is the address of a web page")
        return uri

    @field_validator("redirect_uris")
    @classmethod
    def _redirects(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        for uri in uris:
            redirects.check(uri)
        return uris


class Client(BaseModel):
    """A client as the server knows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Literal["static", "dynamic", "metadata"]
    metadata: ClientMetadata
    secret_hash: str | None = None
    """SHA-256 of the secret, in hexadecimal: a secret of ours has 256 random bits."""

    @property
    def name(self) -> str:
        """What a person is shown."""
        return self.metadata.client_name or self.id

    def may(self, grant: str) -> bool:
        """Whether it has registered this kind of grant."""
        return grant in self.metadata.grant_types

    def check_secret(self, secret: str | None) -> None:
        """See whether ``secret`` is this client's; a client without one must not send any.

        Raises:
            OAuthError: ``invalid_client``.
        """
        if self.secret_hash is None:
            if secret is not None:
                raise OAuthError("invalid_client", "this client is public and has no secret", 401)
            return
        given = hashlib.sha256((secret or "").encode()).hexdigest()
        if not hmac.compare_digest(given, self.secret_hash):
            raise OAuthError("invalid_client", "the secret of the client is not right", 401)


COMMAND_LINE = Client(
    id="zentoria-cli",
    kind="static",
    metadata=ClientMetadata(
        redirect_uris=("http://127.0.0.1/callback", "http://[::1]/callback"),
        token_endpoint_auth_method="none",  # noqa: S106 - the method's name: a public client
        grant_types=GRANTS,
        client_name="Zentoria command line",
    ),
)
"""A client that is always there, so that command lines need no registration."""


def is_document_url(client_id: str) -> bool:
    """Whether a client id is one that its metadata is fetched from."""
    url = _DOCUMENT_URL.fullmatch(client_id)
    return url is not None and len(client_id) <= redirects.MAX_LENGTH and not _DOT_SEGMENT.search(url[2])


def registration(body: Mapping[str, Any]) -> ClientMetadata:
    """Read a request to register (RFC 7591 section 3.1).

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    metadata = _read(body)
    _check(metadata)
    return metadata


def document(url: str, body: Mapping[str, Any]) -> Client:
    """Read a client ID metadata document.

    Args:
        url: where it was fetched from, which is the client's id.
        body: the JSON object.

    Raises:
        OAuthError: ``invalid_client``: it is another client's, has a secret (everybody can read the document), or says
            something that does not hold together.
    """
    if body.get("client_id") != url:
        raise OAuthError("invalid_client", "the metadata document names another client_id than its own URL")
    if any(name in body for name in _SECRETS):
        raise OAuthError("invalid_client", "a metadata document is public and must not hold a client secret")
    if body.get("token_endpoint_auth_method", "none") != "none":
        raise OAuthError(
            "invalid_client", "clients with a metadata document are public: token_endpoint_auth_method none"
        )
    try:
        metadata = _read({**body, "token_endpoint_auth_method": "none"})
        _check(metadata)
    except OAuthError as error:
        raise OAuthError("invalid_client", error.description) from None
    return Client(id=url, kind="metadata", metadata=metadata)


def _read(body: Mapping[str, Any]) -> ClientMetadata:
    try:
        return ClientMetadata.model_validate(dict(body))
    except ValidationError as error:
        # ASCII without quotes, as RFC 6749 section 5.2 wants descriptions; never the input.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        code = "invalid_redirect_uri" if place.startswith("redirect_uris") else "invalid_client_metadata"
        message = first["msg"].removeprefix("Value error, ").replace('"', "").replace("'", "")
        raise OAuthError(code, f"{place}: {message}") from None


def _check(metadata: ClientMetadata) -> None:
    if unknown := sorted(set(metadata.grant_types) - set(GRANTS)):
        # a value from outside is only repeated when it is plain
        shown = unknown[0] if re.fullmatch(r"[A-Za-z0-9_:.-]{1,80}", unknown[0]) else "one of them"
        raise OAuthError("invalid_client_metadata", f"grant_types: {shown} is not supported")
    if "authorization_code" in metadata.grant_types:
        if not metadata.redirect_uris:
            raise OAuthError("invalid_redirect_uri", "redirect_uris: the authorization code grant needs one at least")
        if "code" not in metadata.response_types:
            raise OAuthError("invalid_client_metadata", "response_types: the authorization code grant needs code")
    if set(metadata.response_types) - {"code"}:
        raise OAuthError("invalid_client_metadata", "response_types: only code is supported")
