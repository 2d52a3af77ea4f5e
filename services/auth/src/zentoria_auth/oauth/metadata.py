"""What the server says about itself (RFC 8414)."""

from __future__ import annotations

from typing import Any

from zentoria_auth.oauth.clients import GRANTS
from zentoria_auth.oauth.requests import Offer

AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post")


def server_metadata(offer: Offer, *, registration: bool) -> dict[str, Any]:
    """Make the document for ``/.well-known/oauth-authorization-server``.

    It has no alias for OpenID Connect's discovery: MCP asks for one of the two, and this server makes no ID tokens.

    Args:
        offer: issuer, scopes, resources.
        registration: whether clients may register themselves.
    """
    base = f"{offer.issuer}/oauth"
    document: dict[str, Any] = {
        "issuer": offer.issuer,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "revocation_endpoint": f"{base}/revoke",
        "device_authorization_endpoint": f"{base}/device_authorization",
        "jwks_uri": f"{offer.issuer}/.well-known/jwks.json",
        "scopes_supported": sorted(offer.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*GRANTS],
        "token_endpoint_auth_methods_supported": [*AUTH_METHODS],
        "revocation_endpoint_auth_methods_supported": [*AUTH_METHODS],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "protected_resources": [*offer.resources],
    }
    if registration:
        document["registration_endpoint"] = f"{base}/register"
    return document
