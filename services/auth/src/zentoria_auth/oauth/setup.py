"""The authorization server of an application, made of what the service has."""

from __future__ import annotations

from zentoria_common.outbound import Allowed, Outbound

from zentoria_auth.oauth.api import OAuth
from zentoria_auth.oauth.clients import MAX_DOCUMENT_BYTES
from zentoria_auth.oauth.documents import TIMEOUT, Documents
from zentoria_auth.oauth.requests import make_offer
from zentoria_auth.oauth.service import AuthorizationServer
from zentoria_auth.oauth.tickets import Tickets
from zentoria_auth.pages.web import signed_in
from zentoria_auth.services import Services


def make_oauth(services: Services) -> OAuth:
    """Make it. Nothing connects yet."""
    settings = services.settings
    prefix = f"{services.prefix}oauth"
    # Anybody chooses these addresses: what providers may be reached at is not for them.
    outbound = Outbound(
        Allowed.parse(settings.oauth_client_hosts.split(",")), timeout=TIMEOUT, max_bytes=MAX_DOCUMENT_BYTES
    )
    server = AuthorizationServer(
        make_offer(settings.public_url),
        services.database,
        Tickets(services.redis, prefix, services.clock),
        Documents(outbound, services.redis, prefix),
        services.sessions,
        services.tokens,
    )
    return OAuth(server, signed_in, settings.oauth_dynamic_registration, outbound.close)
