"""The lab's name server: what it knows, what it refuses, what it does not take for a question."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from zentoria_infra.lab.network.name_server import NameServer

KNOWN = "localhost"


def query(name: str, kind: int = 1, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x4711, flags, questions, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def read(answer: bytes) -> tuple[int, list[str]]:
    """Code and addresses of an answer to :func:`query`."""
    number, flags, _, count, *_ = struct.unpack_from("!HHHHHH", answer)
    assert (number, flags & 0x8180) == (0x4711, 0x8180)
    return flags & 0xF, [socket.inet_ntoa(answer[len(answer) - 16 * at - 4 :][:4]) for at in range(count)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (query(KNOWN), (0, ["127.0.0.1"])),
        (query("LocalHost"), (0, ["127.0.0.1"])),
        (query(KNOWN, kind=28), (0, [])),
        (query("elsewhere.example"), (5, [])),
        (query("a.localhost"), (5, [])),
        (query(KNOWN, questions=2), (1, [])),
        (query(KNOWN)[:-3], (1, [])),
        (query(KNOWN, flags=0x0900), (1, [])),
    ],
    ids=["known", "in other letters", "no IPv6", "unknown", "below a known one", "two", "cut off", "no question"],
)
def test_it_answers_about_the_names_it_knows_and_refuses_others(asked: bytes, expected: tuple[int, list[str]]) -> None:
    assert read(asyncio.run(NameServer([KNOWN]).answer(asked))) == expected


@pytest.mark.parametrize("data", [b"", b"\0" * 11, query(KNOWN, flags=0x8180), b"\xff" * 40])
def test_what_is_no_question_gets_no_answer(data: bytes) -> None:
    assert asyncio.run(NameServer([KNOWN]).answer(data)) == b""


def test_it_serves_datagrams_and_connections() -> None:
    async def scenario() -> None:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        listener = socket.create_server(("127.0.0.1", 0))
        places = datagrams.getsockname(), listener.getsockname()
        server = NameServer([KNOWN])
        await server.start(datagrams, listener)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            await loop.sock_connect(client, places[0])
            await loop.sock_sendall(client, query(KNOWN))
            assert read(await loop.sock_recv(client, 512)) == (0, ["127.0.0.1"])
        reader, writer = await asyncio.open_connection(*places[1])
        for _ in range(2):
            writer.write(len(query(KNOWN)).to_bytes(2, "big") + query(KNOWN))
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert read(await reader.readexactly(length)) == (0, ["127.0.0.1"])
        await server.stop()
        writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
