"""The guests' proxy: what passes, what is refused, what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from zentoria_infra.lab.network import package_cache
from zentoria_infra.lab.network.allow_list import from_urls
from zentoria_infra.lab.network.forward_proxy import ForwardProxy
from zentoria_infra.lab.network.package_cache import Kind, PackageCache, kind_of

DEB = "/debian/pool/main/x/x/x_1.0%2bb1_all.deb"
INDEX = "/debian/dists/trixie/InRelease"
BODY = bytes(range(256)) * 2000
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


@dataclasses.dataclass
class World:
    """A mirror, the proxy in front of it, and what the mirror was asked."""

    mirror: str
    proxy: str
    proxy_port: int
    asked: list[tuple[str, str, str]]
    session: aiohttp.ClientSession
    server: web.Server | None = None

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        url = aiohttp.client.URL(self.mirror + path, encoded=True)
        async with self.session.get(url, proxy=self.proxy, headers=headers) as answer:
            return answer.status, await answer.read()

    async def raw(self, text: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy_port)
        writer.write(text.encode())
        data = await reader.read()
        writer.close()
        return data


@contextlib.asynccontextmanager
async def world(folder: Path | None, *, allow: bool = True) -> AsyncIterator[World]:
    asked: list[tuple[str, str, str]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append((request.method, request.raw_path, request.headers.get("If-Modified-Since", "")))
        if request.path.endswith("cut.deb"):
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"only this")
            assert request.transport is not None
            request.transport.abort()
            return response
        if request.path.endswith("missing.deb"):
            return web.Response(status=404, text="none")
        if request.headers.get("If-Modified-Since") == MODIFIED:
            return web.Response(status=304)
        await asyncio.sleep(0.02)
        return web.Response(body=BODY, headers={"Last-Modified": MODIFIED})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    mirror = f"http://127.0.0.1:{runner.addresses[0][1]}"
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    proxy = ForwardProxy(listener, from_urls([mirror] if allow else []), PackageCache(folder) if folder else None)
    proxy._proxies = {}
    await proxy.start()
    session = aiohttp.ClientSession(trust_env=False)
    try:
        yield World(mirror, f"http://127.0.0.1:{port}", port, asked, session)
    finally:
        await session.close()
        await proxy.stop()
        listener.close()
        await runner.cleanup()


def play(scenario: Callable[[World], Awaitable[None]], folder: Path | None, *, allow: bool = True) -> None:
    async def run() -> None:
        async with world(folder, allow=allow) as found:
            await scenario(found)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_package_is_fetched_once_for_all_and_its_address_kept_as_it_is(tmp_path: Path) -> None:
    async def scenario(found: World) -> None:
        answers = await asyncio.gather(*(found.get(DEB) for _ in range(17)))
        assert answers == [(200, BODY)] * 17
        assert [path for _, path, _ in found.asked] == [DEB]
        found.asked.clear()

    play(scenario, tmp_path)

    async def again(found: World) -> None:
        assert await found.get("/debian/pool/other_1_all.deb") == (200, BODY)
        assert len(found.asked) == 1

    play(again, tmp_path)


def test_an_index_is_asked_for_again_when_it_is_old_and_survives_a_mirror_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(found: World) -> None:
        assert await found.get(INDEX) == (200, BODY)
        assert await found.get(INDEX) == (200, BODY)
        assert len(found.asked) == 1
        assert await found.get(INDEX, **{"If-Modified-Since": MODIFIED}) == (304, b"")
        monkeypatch.setattr(package_cache, "FRESH_SECONDS", -1.0)
        assert await found.get(INDEX) == (200, BODY)
        assert found.asked[1:] == [("GET", INDEX, MODIFIED)]
        # the mirror goes: its port is closed, what is kept is served
        cache = PackageCache(tmp_path)
        entry = cache.find(f"{found.mirror}{INDEX}")
        assert entry is not None
        assert entry.file.read_bytes() == BODY

    play(scenario, tmp_path)


def test_a_file_that_breaks_off_or_is_missing_is_not_kept(tmp_path: Path) -> None:
    async def scenario(found: World) -> None:
        for _ in range(2):
            status, said = await found.get("/pool/cut.deb")
            assert status == 502
            assert b"127.0.0.1" in said
            assert (await found.get("/pool/missing.deb")) == (404, b"none")
        assert not [file for file in tmp_path.rglob("*") if file.is_file()]

    play(scenario, tmp_path)


def test_a_damaged_kept_file_is_fetched_anew(tmp_path: Path) -> None:
    async def scenario(found: World) -> None:
        await found.get(DEB)
        (kept,) = [file for file in tmp_path.rglob("*") if file.is_file() and not file.suffix]
        kept.write_bytes(b"short")
        assert await found.get(DEB) == (200, BODY)
        assert len(found.asked) == 2

    play(scenario, tmp_path)


def test_other_hosts_are_refused_with_words_that_say_what_to_do(tmp_path: Path) -> None:
    async def scenario(found: World) -> None:
        status, said = await found.get(DEB)
        assert status == 403
        assert b"--allow HOST" in said
        port = found.mirror.rpartition(":")[2]
        tunnel = await found.raw(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n")
        assert tunnel.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert found.asked == []

    play(scenario, tmp_path, allow=False)


def test_a_tunnel_carries_both_ways_until_each_side_is_done() -> None:
    async def scenario(found: World) -> None:
        port = found.mirror.rpartition(":")[2]
        reader, writer = await asyncio.open_connection("127.0.0.1", found.proxy_port)
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = await reader.read()
        assert data.endswith(BODY)
        writer.close()

    play(scenario, None)


def test_requests_sent_at_once_are_answered_in_order(tmp_path: Path) -> None:
    async def scenario(found: World) -> None:
        one = f"HEAD {found.mirror}/a HTTP/1.1\r\nHost: x\r\n\r\n"
        last = f"GET {found.mirror}{DEB} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        data = await found.raw(one + last)
        assert data.count(b"HTTP/1.1 200") == 2
        assert data.endswith(BODY)

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nonsense\r\n\r\n", b"400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        ("GET ftp://x/ HTTP/1.1\r\n\r\n", b"400"),
        ("GET http://[x/ HTTP/1.1\r\n\r\n", b"400"),
        ("GET http://x:99999/ HTTP/1.1\r\n\r\n", b"400"),
        ("GET http://x/ HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        ("POST http://127.0.0.1/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        ("CONNECT nowhere HTTP/1.1\r\n\r\n", b"400"),
        ("GET http://x/ HTTP/1.1\r\nA: " + "x" * 70000 + "\r\n\r\n", b"431"),
    ],
)
def test_broken_requests_are_refused_and_the_proxy_goes_on(text: str, status: bytes) -> None:
    async def scenario(found: World) -> None:
        closing = text.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n", 1)
        assert (await found.raw(closing)).startswith(b"HTTP/1.1 " + status)
        assert await found.get("/other") == (200, BODY)

    play(scenario, None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/debian/pool/main/n/nginx/nginx_1.26-3%2bdeb13u1_all.deb", Kind.FOREVER),
        ("/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/abc", Kind.FOREVER),
        ("/debian/dists/trixie/InRelease", Kind.SHORT),
        ("/debian/pool/main/index.html", Kind.NEVER),
        ("/pool/x.deb?token=1", Kind.NEVER),
        ("/simple/pip/", Kind.NEVER),
    ],
)
def test_what_may_be_kept(path: str, kind: Kind) -> None:
    assert kind_of(path) is kind
