"""The guests' only way out: an HTTP forward proxy (RFC 9110, 7.6 and 9.3.6) with an allow-list.

Its listening socket is opened inside the lab's network namespace; it dials from the host's network. apt sends it
whole addresses (``GET http://mirror/...``), everything with TLS asks for a tunnel (``CONNECT host:443``). Names
are resolved here, so guests need no DNS for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import yarl

from zentoria_infra.lab.network import streams
from zentoria_infra.lab.network.allow_list import AllowList
from zentoria_infra.lab.network.package_cache import Entry, Kind, PackageCache, kind_of

_LOG = logging.getLogger(__name__)
_HEAD_LIMIT = 1 << 16
_CHUNK = 1 << 18
_IDLE_SECONDS = 120.0
_PASSED = ("accept", "if-modified-since", "if-none-match", "if-range", "range", "user-agent")
_RETURNED = ("Content-Type", "Last-Modified", "ETag", "Content-Range", "Accept-Ranges", "Location", "Date")


@dataclass
class _Request:
    method: str
    target: str
    http11: bool
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def keep_alive(self) -> bool:
        words = f"{self.headers.get('connection', '')},{self.headers.get('proxy-connection', '')}".lower()
        return "close" not in words and (self.http11 or "keep-alive" in words)


class _Refused(Exception):
    """An answer of the proxy's own."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text


class ForwardProxy:
    """Serves HTTP proxy requests on a listening socket.

    Args:
        listener: a bound, listening TCP socket, in whichever network namespace.
        allow: what may be reached.
        cache: where package files are kept; None keeps nothing.
        proxies: this machine's own proxies by scheme, as apt is told; those of the environment
            (``http_proxy``...) go before them.
    """

    def __init__(
        self,
        listener: socket.socket,
        allow: AllowList,
        cache: PackageCache | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._listener = listener
        self._allow = allow
        self._cache = cache
        self._proxies = {**(proxies or {}), **urllib.request.getproxies()}
        self._server: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve."""
        if self._cache is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._cache.prune)
        timeout = aiohttp.ClientTimeout(total=None, connect=20, sock_connect=20, sock_read=60)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=_HEAD_LIMIT)

    async def stop(self) -> None:
        """Stop, and cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        peer = (writer.get_extra_info("peername") or ("?",))[0]
        try:
            while True:
                request = await asyncio.wait_for(_read_head(reader), _IDLE_SECONDS)
                if request is None or not await self._serve(peer, request, reader, writer):
                    break
        except _Refused as refused:
            with contextlib.suppress(OSError):
                await _say(writer, refused, close=True)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, aiohttp.ClientError) as error:
            _LOG.info("%s: connection ended: %s", peer, error or type(error).__name__)
        finally:
            writer.close()

    async def _serve(
        self, peer: str, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False ends the connection."""
        begun = time.monotonic()
        try:
            if request.method == "CONNECT":
                sent = await self._tunnel(request, reader, writer)
                _LOG.info("%s CONNECT %s: %s bytes to the guest", peer, request.target, sent)
                return False
            how, sent = await self._fetch(request, writer)
        except _Refused as refused:
            _LOG.info("%s %s %s: %s %s", peer, request.method, request.target, refused.status, refused.reason)
            await _say(writer, refused, close=not request.keep_alive)
            return request.keep_alive and request.method != "CONNECT" and not _has_body(request)
        seconds = time.monotonic() - begun
        _LOG.info("%s %s %s: %s, %s bytes, %.2f s", peer, request.method, request.target, how, sent, seconds)
        return request.keep_alive

    def _check(self, host: str, port: int) -> None:
        if not self._allow.permits(host, port):
            allowed = ", ".join(self._allow.hosts) or "no host at all"
            raise _Refused(
                403, "Forbidden",
                f"The lab's proxy does not let guests reach {host}:{port}. It lets through what this machine itself "
                f"installs packages from: {allowed}. Others: zentoria lab up --allow HOST\n",
            )  # fmt: skip

    async def _tunnel(self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        host, _, text = request.target.rpartition(":")
        if not host or not text.isdigit():
            raise _Refused(400, "Bad Request", "CONNECT wants host:port\n")
        port = int(text)
        self._check(host, port)
        try:
            far = await asyncio.wait_for(self._dial(host, port), 20)
        except (OSError, TimeoutError) as error:
            raise _Refused(502, "Bad Gateway", f"{host}:{port} does not answer: {error or 'timeout'}\n") from error
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return (await streams.splice((reader, writer), far))[1]

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        upstream = self._proxy_for("https", host)
        if upstream is None:
            return await asyncio.open_connection(host, port)
        parts = urllib.parse.urlsplit(upstream)
        near = await asyncio.open_connection(parts.hostname, parts.port or 80)
        lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
        if parts.username is not None:
            user, word = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
            lines.append(f"Proxy-Authorization: {aiohttp.BasicAuth(user, word).encode()}")
        near[1].write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await near[0].readuntil(b"\r\n\r\n")
        if b" 200" not in head.partition(b"\r\n")[0]:
            await streams.close(near[1])
            raise OSError(f"this machine's proxy says {head.partition(chr(13).encode())[0].decode(errors='replace')}")
        return near

    def _proxy_for(self, scheme: str, host: str) -> str | None:
        return None if urllib.request.proxy_bypass(host) else self._proxies.get(scheme)

    async def _fetch(self, request: _Request, writer: asyncio.StreamWriter) -> tuple[str, int]:
        if request.method not in ("GET", "HEAD") or _has_body(request):
            raise _Refused(405, "Method Not Allowed", "The lab's proxy knows GET, HEAD and CONNECT\n")
        try:
            parts = urllib.parse.urlsplit(request.target)
            port = parts.port or 80
        except ValueError:
            raise _Refused(400, "Bad Request", "The address cannot be read\n") from None
        if parts.scheme != "http" or not parts.hostname:
            raise _Refused(400, "Bad Request", "This is a proxy: it wants a whole address (http://host/path)\n")
        self._check(parts.hostname, port)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        kind = kind_of(path)
        url = f"http://{parts.hostname.lower()}:{port}{path}"
        if self._cache is None or kind is Kind.NEVER or request.method != "GET":
            return await self._pass(request, url, parts.hostname, writer)
        async with self._cache.one_at_a_time(url):
            entry = self._cache.find(url)
            if entry is not None and entry.fresh(kind):
                how = "kept"
            else:
                how, entry = await self._renew(self._cache, request, url, parts.hostname, entry)
        if entry is None:
            return await self._pass(request, url, parts.hostname, writer)
        return how, await _send_entry(request, entry, writer)

    async def _renew(
        self, cache: PackageCache, request: _Request, url: str, host: str, old: Entry | None
    ) -> tuple[str, Entry | None]:
        """Fetch a file into the cache; None when the mirror has something else than the file to say."""
        headers = {"User-Agent": request.headers.get("user-agent", "zentoria-lab")}
        if old is not None and old.last_modified:
            headers["If-Modified-Since"] = old.last_modified
        if old is not None and old.etag:
            headers["If-None-Match"] = old.etag
        try:
            async with self._request("GET", url, host, headers) as answer:
                if answer.status == 304 and old is not None:
                    cache.touch(url, old)
                    return "still good", old
                if answer.status != 200:
                    return "", None
                partial = cache.begin(url)
                try:
                    async for data in answer.content.iter_chunked(_CHUNK):
                        partial.write(data)
                except BaseException:
                    partial.drop()
                    raise
                whole = partial.keep(
                    expected=answer.content_length,
                    last_modified=answer.headers.get("Last-Modified", ""),
                    etag=answer.headers.get("ETag", ""),
                    content_type=answer.headers.get("Content-Type", "application/octet-stream"),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if old is not None:
                return "the mirror does not answer, kept", old
            raise _Refused(502, "Bad Gateway", f"{host} does not answer: {error or 'timeout'}\n") from error
        if not whole:
            raise _Refused(502, "Bad Gateway", f"{host} broke off in the middle of the file\n")
        return "fetched", cache.find(url)

    def _request(
        self, method: str, url: str, host: str, headers: Mapping[str, str]
    ) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise _Refused(503, "Service Unavailable", "The lab is stopping\n")
        where = yarl.URL(url, encoded=True)
        proxy = self._proxy_for("http", host)
        return self._session.request(method, where, headers=headers, proxy=proxy, allow_redirects=False)

    async def _pass(self, request: _Request, url: str, host: str, writer: asyncio.StreamWriter) -> tuple[str, int]:
        """Hand an answer on as it comes."""
        headers = {name: value for name, value in request.headers.items() if name in _PASSED}
        try:
            async with self._request(request.method, url, host, headers) as answer:
                lines = [f"HTTP/1.1 {answer.status} {answer.reason or ''}".rstrip()]
                lines += [f"{name}: {answer.headers[name]}" for name in _RETURNED if name in answer.headers]
                bare = request.method == "HEAD" or answer.status in (204, 304)
                size = answer.headers.get("Content-Length")
                chunked = size is None and not bare and request.http11
                if size is not None:
                    lines.append(f"Content-Length: {size}")
                elif chunked:
                    lines.append("Transfer-Encoding: chunked")
                sent = await _send(writer, lines, close=not request.keep_alive)
                async for data in answer.content.iter_chunked(_CHUNK):
                    writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                    await writer.drain()
                    sent += len(data)
                if chunked:
                    writer.write(b"0\r\n\r\n")
                if size is None and not bare and not request.http11:
                    request.headers["connection"] = "close"
                return f"{answer.status}", sent
        except aiohttp.ClientConnectorError as error:
            raise _Refused(502, "Bad Gateway", f"{host} does not answer: {error}\n") from error


def _has_body(request: _Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


async def _read_head(reader: asyncio.StreamReader) -> _Request | None:
    """Read a request's head; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise
        return None
    except asyncio.LimitOverrunError:
        raise _Refused(431, "Request Header Fields Too Large", "The request's head is too long\n") from None
    first, *lines = head.decode("latin-1").strip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise _Refused(400, "Bad Request", "This is no HTTP/1 request\n")
    request = _Request(words[0], words[1], words[2] == "HTTP/1.1")
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise _Refused(400, "Bad Request", "A header cannot be read\n")
        request.headers[name.lower()] = value.strip()
    return request


async def _send(writer: asyncio.StreamWriter, lines: list[str], *, close: bool) -> int:
    lines = [*lines, "Via: 1.1 zentoria-lab", f"Connection: {'close' if close else 'keep-alive'}"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
    await writer.drain()
    return 0


async def _say(writer: asyncio.StreamWriter, refused: _Refused, *, close: bool) -> None:
    body = refused.text.encode()
    lines = [
        f"HTTP/1.1 {refused.status} {refused.reason}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
    ]
    await _send(writer, lines, close=close)
    writer.write(body)
    await writer.drain()


async def _send_entry(request: _Request, entry: Entry, writer: asyncio.StreamWriter) -> int:
    close = not request.keep_alive
    validators = [f"Last-Modified: {entry.last_modified}"] if entry.last_modified else []
    if entry.etag:
        validators.append(f"ETag: {entry.etag}")
    asked = request.headers.get("if-none-match")
    same = entry.etag == asked if asked else entry.last_modified == request.headers.get("if-modified-since")
    if same and (entry.etag if asked else entry.last_modified):
        await _send(writer, ["HTTP/1.1 304 Not Modified", *validators], close=close)
        return 0
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {entry.content_type}", f"Content-Length: {entry.size}", *validators]
    with entry.file.open("rb") as stream:
        await _send(writer, lines, close=close)
        sent = 0
        while data := stream.read(_CHUNK):
            writer.write(data)
            await writer.drain()
            sent += len(data)
    return sent
