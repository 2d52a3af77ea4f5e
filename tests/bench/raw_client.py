"""A load generator that costs little beside what it measures: HTTP/1.1 on kept connections, requests as bytes."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

CONNECTIONS = 32


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request as it goes over the wire."""
    fields = {"host": "bench", **headers, **({"content-length": str(len(body))} if body else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclasses.dataclass
class Taken:
    """How long answers took, in milliseconds, and those that were no good, by status."""

    milliseconds: list[float] = dataclasses.field(default_factory=list)
    wrong: dict[int, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """In short."""
        taken = sorted(self.milliseconds)
        return {
            "p50_ms": round(statistics.median(taken), 2),
            "p95_ms": round(taken[int(len(taken) * 0.95)], 2),
            "p99_ms": round(taken[int(len(taken) * 0.99)], 2),
            "per_second": round(len(taken) / self.seconds),
            "failed": sum(self.wrong.values()),
            **({"why": str(self.wrong)} if self.wrong else {}),
        }


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or self._waiting is None:
            return
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if len(rest) < size:
            return
        self._buffer = rest[size:]
        waiting, self._waiting = self._waiting, None
        waiting.set_result((int(head[9:12]), rest[:size]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((0, b""))

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status (0: the connection is cut) and body of the answer."""
        assert self._transport is not None
        if self._transport.is_closing():
            return 0, b""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._waiting


async def _connections(port: int, count: int) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def ask(port: int, message: bytes) -> tuple[int, Any]:
    """One request; status and JSON."""
    (connection,) = await _connections(port, 1)
    status, body = await connection.ask(message)
    return status, json.loads(body or b"null")


async def open_loop(port: int, make: Callable[[int], bytes], rate: float, seconds: float, warm: int = 50) -> Taken:
    """Send ``rate`` requests a second, whether or not answers come; times count from when each was due."""
    taken = Taken(seconds=seconds)
    free = collections.deque(await _connections(port, CONNECTIONS))
    for number in range(warm):  # connections, pools and caches are there before it counts
        await free[number % CONNECTIONS].ask(make(number))

    async def one(number: int, due: float) -> None:
        connection = free.popleft() if free else (await _connections(port, 1))[0]
        status, _ = await connection.ask(make(number))
        free.append(connection)
        taken.milliseconds.append((time.perf_counter() - due) * 1000)
        if not 200 <= status < 300:
            taken.wrong[status] = taken.wrong.get(status, 0) + 1

    start = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.create_task(one(number, due))
    return taken


async def closed_loop(port: int, make: Callable[[int], bytes], seconds: float, at_once: int = CONNECTIONS) -> Taken:
    """Send the next request on each of ``at_once`` connections as soon as there is an answer."""
    taken = Taken(seconds=seconds)
    end = time.perf_counter() + seconds

    async def one(connection: _Connection, number: int) -> None:
        while (began := time.perf_counter()) < end:
            status, _ = await connection.ask(make(number))
            number += at_once
            taken.milliseconds.append((time.perf_counter() - began) * 1000)
            if not 200 <= status < 300:
                taken.wrong[status] = taken.wrong.get(status, 0) + 1
                if not status:
                    return

    async with asyncio.TaskGroup() as tasks:
        for number, connection in enumerate(await _connections(port, at_once)):
            tasks.create_task(one(connection, number))
    return taken
