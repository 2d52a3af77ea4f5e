"""What the workers of one service tell each other: to forget what one of them changed, and what each has counted.

Each has a socket of its own in the kernel's namespace of names that are no files (unix(7), abstract), which its parent
made: a worker that takes another's place has it too. Nothing on the network is asked, so it works while Redis is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog

MOST_BYTES = 8 * 1024 * 1024
"""Of one answer."""
_PEER = struct.Struct("3i")

_log = structlog.stdlib.get_logger("zentoria_common.siblings")

Answer = Callable[[], Awaitable[bytes]]


def listeners(count: int) -> list[socket.socket]:
    """A listening socket for each of ``count`` workers; the kernel chooses their names."""
    made = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        sock.bind("")  # autobind
        sock.listen(16)
        made.append(sock)
    return made


class Siblings:
    """One worker among others, or the only one.

    Args:
        index: which one, from 0.
        sockets: of all of them, by index; none where there is one alone.
    """

    def __init__(self, index: int = 0, sockets: Sequence[socket.socket] = ()) -> None:
        self.index = index
        self._sockets = tuple(sockets)
        self._answers: dict[str, Answer] = {}

    @property
    def first(self) -> bool:
        """Whether what one process does for all (the queue of jobs, sweeps) is this one's to do."""
        return self.index == 0

    @property
    def count(self) -> int:
        """How many there are."""
        return max(1, len(self._sockets))

    def on(self, topic: str, answer: Answer) -> None:
        """Answer a question of the others."""
        self._answers[topic] = answer

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Answer the others while the context is open."""
        if self.count == 1:
            yield
            return
        server = await asyncio.start_unix_server(self._serve, sock=self._sockets[self.index].dup())
        try:
            yield
        finally:
            server.close()

    async def ask(self, topic: str, timeout: float = 1.0) -> dict[int, bytes]:
        """Ask all others.

        Args:
            topic: the name of the question.
            timeout: seconds that they have.

        Returns:
            Their answers, by index. Who does not answer in time is left out: it hangs, stops, or has just begun.
        """
        others = [index for index in range(self.count) if index != self.index]
        answers = await asyncio.gather(*(self._ask(index, topic, timeout) for index in others))
        return {index: answer for index, answer in zip(others, answers, strict=True) if answer is not None}

    async def _ask(self, index: int, topic: str, timeout: float) -> bytes | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout):
                sock.connect(self._sockets[index].getsockname())  # at once, or not at all; uvloop takes no such names
                reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MOST_BYTES)
                writer.write(f"{topic}\n".encode())
                size = int.from_bytes(await reader.readexactly(8), "big")
                return await reader.readexactly(size) if size <= MOST_BYTES else None
        except (OSError, EOFError, TimeoutError) as error:
            _log.warning("another worker does not answer", error_type=type(error).__qualname__)
            return None
        finally:
            if writer is not None:
                writer.close()
            else:
                sock.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock = writer.get_extra_info("socket")
            _, user, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            topic = (await reader.readline()).decode("utf-8", "replace").rstrip("\n")
            answer = self._answers.get(topic)
            if user == os.getuid() and answer is not None:
                body = await answer()
                writer.write(len(body).to_bytes(8, "big") + body)
                await writer.drain()
        except (OSError, ValueError) as error:
            _log.warning("another worker was not answered", error_type=type(error).__qualname__)
        finally:
            writer.close()


_current = Siblings()


def current() -> Siblings:
    """The worker that this process is."""
    return _current


def become(index: int, sockets: Sequence[socket.socket]) -> None:
    """Make this process one of the workers; called once, before the application is made."""
    global _current
    _current = Siblings(index, sockets)
