"""HTTP to addresses that somebody else chose: a client that cannot be led to ours (SSRF).

A name is resolved here, each of its addresses is judged, and the connection goes to an address that was judged: what a
name server says the next time does not matter. The name is kept for TLS and the ``Host`` header. Redirects are not
followed, a proxy of the environment is not used, an answer is bounded in time and size.

Which addresses are the internet: the IANA registries for special-purpose addresses, as Python's ``ipaddress`` has them;
an IPv6 address that carries an IPv4 address (mapped, 6to4, Teredo, NAT64) is judged by that one as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import httpcore2
import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Reason = Literal["refused", "unreachable", "timeout", "too large", "bad answer"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all of IPv6 that was given out to hosts of the internet
_NOT_KNOWN = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, documentation: newer than Python's list
PORTS = frozenset({443})
"""Ports of the internet that are spoken to: neither without TLS, nor to services that were never meant to be."""


class OutboundError(Exception):
    """A request was not made, or its answer not taken.

    ``reason`` tells which; the text is for the log and names the host, never the whole URL, which may hold a secret.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            OutboundError: it is none, or nested too deep.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise OutboundError("bad answer", "the answer is no JSON") from None


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What a site allows beside the internet: its own identity provider, for instance.

    Args:
        networks: that may be spoken to, on any port and without TLS as well.
        hosts: names that may resolve to any address, likewise.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, values: Iterable[str]) -> Allowed:
        """Networks, addresses and names, as settings have them."""
        networks, hosts = [], set()
        for value in filter(None, (value.strip() for value in values)):
            try:
                networks.append(ipaddress.ip_network(value))
            except ValueError:
                hosts.add(value.lower().rstrip("."))
        return cls(tuple(networks), frozenset(hosts))

    def permits(self, host: str, address: Address) -> bool:
        """Whether ``address``, which ``host`` has, may be spoken to though it is not of the internet."""
        return host in self.hosts or any(
            address in network for network in self.networks if network.version == address.version
        )


def is_public(address: Address) -> bool:
    """Whether this is an address of the internet, and of one host there."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # Python calls public what was once site-local (fec0::/10), and addresses that end in an IPv4 address (::/96).
        if (address not in _UNICAST and address not in _NAT64) or address in _NOT_KNOWN:
            return False
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return all(is_public(one) for one in inner if one is not None)
    return True


class Outbound:
    """Makes requests. One for a service; :meth:`close` ends its connections.

    Args:
        allowed: what may be spoken to beside the internet.
        timeout: seconds that a request may take, from the name's resolution to the last byte.
        max_bytes: that an answer's body may have.
        ca_file: certificates that are trusted in place of the system's.
    """

    def __init__(
        self,
        allowed: Allowed | None = None,
        *,
        timeout: float = 10.0,
        max_bytes: int = 1024 * 1024,
        ca_file: Path | None = None,
    ) -> None:
        self._allowed = allowed or Allowed()
        self._timeout, self._max_bytes = timeout, max_bytes
        context = ssl.create_default_context(cafile=ca_file) if ca_file else _usual_context()
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            network_backend=_Guarded(self._allowed),
            max_connections=20,
            max_keepalive_connections=5,
            keepalive_expiry=30,
        )
        self.client = httpx2.AsyncClient(
            transport=_Transport(pool), timeout=timeout, follow_redirects=False, trust_env=False
        )
        """For libraries that want a client of httpx2. It judges addresses; URLs, time and size are theirs to bound."""

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET. Raises as :meth:`request` does."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, and take the whole answer.

        Args:
            method: of HTTP.
            url: absolute; ``https``, or ``http`` where the host is one that is allowed for itself.
            headers: further ones.
            content: a body.
            form: a body as a form's fields (``application/x-www-form-urlencoded``).

        Raises:
            OutboundError: the URL or its address is refused, or there is no answer that can be taken.
        """
        parsed = self.check(url)
        sent = {"accept-encoding": "identity", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self.client.stream(method, parsed, headers=sent, content=content, data=form) as answer,
            ):
                return Answer(answer.status_code, dict(answer.headers), await self._body(parsed.host, answer))
        except _Refused as error:
            raise OutboundError("refused", str(error)) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise OutboundError("timeout", f"{parsed.host}: no whole answer in {self._timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise OutboundError("unreachable", f"{parsed.host}: {type(error).__name__}") from None

    def check(self, url: str) -> httpx2.URL:
        """Judge a URL without asking anybody: for one that is stored now and used later.

        Raises:
            OutboundError: it is not one that is ever asked.
        """
        try:
            parsed = httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError, TypeError):
            raise OutboundError("refused", "this is no URL") from None
        host = parsed.host.lower().rstrip(".")
        if parsed.scheme not in ("https", "http") or not host:
            raise OutboundError("refused", "only URLs that begin with https:// are asked")
        if parsed.userinfo:
            raise OutboundError("refused", f"{host}: a URL with a name or password in it is not asked")
        literal = _literal(host)
        if host in self._allowed.hosts or (literal is not None and self._allowed.permits(host, literal)):
            return parsed
        if literal is not None and not is_public(literal):
            raise OutboundError("refused", f"{host} is no address of the internet")
        # A name may still be in a network that is allowed: then its port is judged with its address.
        if parsed.scheme != "https" and not self._allowed.networks:
            raise OutboundError("refused", f"{host}: only URLs that begin with https:// are asked")
        return parsed

    async def close(self) -> None:
        """End all connections."""
        await self.client.aclose()

    async def _body(self, host: str, answer: httpx2.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            # It was not asked for, and a kilobyte of it can be a gigabyte.
            raise OutboundError("bad answer", f"{host}: the answer is compressed")
        taken = bytearray()
        async for chunk in answer.aiter_raw():
            taken += chunk
            if len(taken) > self._max_bytes:
                raise OutboundError("too large", f"{host}: the answer has more than {self._max_bytes} bytes")
        return bytes(taken)


@functools.cache
def _usual_context() -> ssl.SSLContext:
    """With the system's certificates, which take some 50 ms to read: clients share it."""
    return ssl.create_default_context()


class _Refused(Exception):
    """No address of the host may be spoken to."""


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Resolves, judges, and connects to what was judged."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        name = host.lower().rstrip(".")
        try:
            async with asyncio.timeout(timeout):
                found = await resolve(host, port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError(f"{name} has no address") from None
        usable = [one for one in found if self._allowed.permits(name, one) or (is_public(one) and port in PORTS)]
        if not usable:
            raise _Refused(f"{name}, port {port}, is not on the internet" if found else f"{name} has no address")
        failure: Exception = httpcore2.ConnectError(f"{name} does not answer")
        for address in usable[:3]:
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise _Refused("a socket of this machine is not on the internet")

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


async def resolve(host: str, port: int) -> Collection[Address]:
    """Addresses of a name, each once, in the resolver's order.

    Raises:
        OSError: it has none.
    """
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers))


class _Transport(httpx2.AsyncBaseTransport):
    """httpx2's own transport takes no network backend of others; this is the little of it that we need."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        asked = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await self._pool.handle_async_request(asked)
        except _HTTPCORE_ERRORS as error:
            raise _translated(error) from error
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Stream(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.aiter_stream():
                yield chunk
        except _HTTPCORE_ERRORS as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


_HTTPCORE_ERRORS = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError)


def _translated(error: Exception) -> Exception:
    """The error of the same name: httpx2 has one for each of httpcore2's."""
    made: Exception = getattr(httpx2, type(error).__name__, httpx2.NetworkError)(str(error))
    return made


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
