"""Where a request came from."""

from __future__ import annotations

import dataclasses
import ipaddress

from starlette.requests import HTTPConnection

MAX_USER_AGENT = 400


@dataclasses.dataclass(frozen=True)
class Peer:
    """The client of a sign-in, for sessions, delays and the audit log.

    Args:
        ip: its address, or None where nobody knows.
        user_agent: what it calls itself, cut and without control characters.
    """

    ip: str | None = None
    user_agent: str | None = None

    @classmethod
    def of(cls, ip: str | None, user_agent: str | None) -> Peer:
        """Clean what came from outside: an address that is none is None."""
        try:
            address = str(ipaddress.ip_address(ip)) if ip else None
        except ValueError:
            address = None
        shown = "".join(character for character in user_agent or "" if character.isprintable())[:MAX_USER_AGENT]
        return cls(address, shown or None)


def peer_of(connection: HTTPConnection) -> Peer:
    """The client of a request that came to us itself: the server has walked the trusted proxies already."""
    client = connection.client
    return Peer.of(client.host if client else None, connection.headers.get("user-agent"))
