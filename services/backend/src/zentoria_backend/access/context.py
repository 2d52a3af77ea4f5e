"""From where a request comes: for audit rows and rate limits, wherever in the code they are written."""

from __future__ import annotations

import contextvars
import dataclasses
import ipaddress

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_USER_AGENT = 512


@dataclasses.dataclass(frozen=True)
class ClientInfo:
    """The other side of a request.

    ``address`` is the client's own where the peer is a trusted proxy: the server has walked ``X-Forwarded-For`` from
    the right (setting ``trusted_proxies``). It is None where that is no IP address.
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    user_agent: str = ""

    @property
    def network(self) -> str:
        """What a rate limit counts: an IPv4 address, or the /64 of an IPv6 address, which one customer has whole."""
        if self.address is None:
            return "unknown"
        if isinstance(self.address, ipaddress.IPv6Address):
            if (mapped := self.address.ipv4_mapped) is not None:
                return str(mapped)
            return str(ipaddress.IPv6Network((int(self.address) >> 64 << 64, 64)))
        return str(self.address)


_current: contextvars.ContextVar[ClientInfo] = contextvars.ContextVar("client", default=ClientInfo())  # noqa: B039 - frozen


def current_client() -> ClientInfo:
    """Of the request that this code runs for; empty outside of one."""
    return _current.get()


def request_id() -> str | None:
    """Of the request that this code runs for."""
    value = structlog.contextvars.get_contextvars().get("request_id")
    return value if isinstance(value, str) else None


def client_info(scope: Scope) -> ClientInfo:
    """Read it from a request. NUL, which PostgreSQL's text cannot hold, is no part of it."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        address = None
    agent = Headers(scope=scope).get("user-agent", "").replace("\0", "")
    return ClientInfo(address, agent[:MAX_USER_AGENT])


class ClientContext:
    """Pure ASGI middleware that keeps it for the time of the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = _current.set(client_info(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)
