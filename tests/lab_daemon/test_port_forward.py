"""Forwarded ports carry streams as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from zentoria_infra.lab.network.port_forward import PortForward

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer only when the other side has said all: a proxy that closes both ways at once loses that."""
    data = await reader.read()
    writer.write(data[::-1])
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def play(scenario: Callable[[PortForward, asyncio.Server], Awaitable[None]], serve: Serve = echo_at_end) -> None:
    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        forward = PortForward(0, None, server.sockets[0].getsockname())
        await forward.start()
        try:
            await scenario(forward, server)
        finally:
            await forward.stop()
            server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


async def ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_half_closed_stream_still_gets_its_answer() -> None:
    async def scenario(forward: PortForward, _: asyncio.Server) -> None:
        data = bytes(range(256)) * 4096
        assert await ask(forward.port, data) == data[::-1]

    play(scenario)


def test_many_at_once() -> None:
    async def scenario(forward: PortForward, _: asyncio.Server) -> None:
        texts = [f"connection {number}".encode() for number in range(200)]
        answers = await asyncio.gather(*(ask(forward.port, text) for text in texts))
        assert answers == [text[::-1] for text in texts]

    play(scenario)


def test_nobody_behind_it_closes_and_it_goes_on_when_somebody_is() -> None:
    async def scenario(forward: PortForward, server: asyncio.Server) -> None:
        address = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        assert await ask(forward.port, b"") == b""
        again = await asyncio.start_server(echo_at_end, *address)
        assert await ask(forward.port, b"ab") == b"ba"
        again.close()

    play(scenario)


def test_stopping_cuts_what_is_open() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def scenario(forward: PortForward, _: asyncio.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"x")
        await asyncio.sleep(0.05)
        await forward.stop()
        assert await reader.read() == b""
        writer.close()

    play(scenario, keep)
