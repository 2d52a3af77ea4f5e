"""Ports of 127.0.0.1 that lead to the proxy container inside the lab's network namespace."""

from __future__ import annotations

import asyncio
import logging
import socket

from zentoria_infra.errors import LabError
from zentoria_infra.lab.network import netns, streams

PROXY_ADDRESS = "10.10.40.8"
"""Address of the proxy container (408) in the architecture's table."""

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 5.0
_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux's number; the module ``socket`` has no name for it before Python 3.14."""


class PortForward:
    """Forwards one port. A connection is closed at once when nobody answers behind it.

    Who connects stands for a user on the internet, so the connection inside comes from an address out there.

    Args:
        port: TCP port on 127.0.0.1.
        namespace: the lab's network namespace; None connects from here (tests).
        target: address and port inside.
        source: own address inside; empty for any.
    """

    def __init__(self, port: int, namespace: str | None, target: tuple[str, int], source: str = "") -> None:
        self._port = port
        self._namespace = namespace
        self._target = target
        self._source = source
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises LabError when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=512)
        except OSError as error:
            raise LabError(
                "forward a port",
                on=f"127.0.0.1:{self._port}",
                got=str(error),
                todo="end the program that holds the port, or give the lab other ports",
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            try:
                far = await asyncio.wait_for(self._dial(), _CONNECT_SECONDS)
            except (OSError, TimeoutError, LabError) as error:
                _LOG.info("port %s: %s:%s does not answer: %s", self._port, *self._target, error or "timeout")
                return
            await streams.splice((reader, writer), far)
        finally:
            writer.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(None, self._socket)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._source:
                # the port is chosen at connect: else there are only so many for all targets together
                made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                made.bind((self._source, 0))
            await loop.sock_connect(made, self._target)
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise

    def _socket(self) -> socket.socket:
        return socket.socket() if self._namespace is None else netns.socket_in(self._namespace)
