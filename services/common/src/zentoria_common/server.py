"""uvicorn on all ports, with a stop that loses no request."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Protocol

import structlog
import uvicorn
from fastapi import FastAPI

from zentoria_common import systemd
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.settings import CommonSettings

_log = structlog.stdlib.get_logger("zentoria_common.server")


def listening_sockets(host: str, ports: Mapping[str, int]) -> dict[str, socket.socket]:
    """Systemd's sockets where it passed some, else sockets bound to these ports, by name.

    All ports serve the same application. Sockets of systemd stay open while the service restarts: the kernel queues
    new connections, and none is refused.

    Raises:
        OSError: an address is taken or not ours, or systemd passed something else than listening sockets.
    """
    return systemd.activated_sockets() or {name: systemd.bound_socket(host, port) for name, port in ports.items()}


class Watcher(Protocol):
    """Who is told how a server is: systemd, or the parent of several workers."""

    @property
    def interval(self) -> float | None:
        """Seconds between two signs of life; None: it wants none."""

    def ready(self) -> None:
        """Requests are answered from now on."""

    def alive(self) -> bool:
        """The event loop runs. False: there is nobody any more, and the server is to stop."""

    def stopping(self) -> None:
        """The server drains and stops."""


class Server(uvicorn.Server):
    """A uvicorn server that tells its watcher how it is, and drains before it closes connections.

    uvicorn closes a quiet connection as soon as it stops, also when a request for it is in the kernel's buffer already;
    that client sees a reset. We stop accepting, go on answering (each answer says ``Connection: close``) for
    ``drain_timeout`` seconds or until all have left, and then let uvicorn finish.
    """

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, drain_timeout: float, watcher: Watcher | None = None
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_timeout = drain_timeout
        self._watcher = watcher or systemd.Manager()
        self._told = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so when requests are answered."""
        await super().startup(sockets)
        if self.started:
            self._watcher.ready()

    async def on_tick(self, counter: int) -> bool:
        """Give a sign of life from the event loop: a loop that hangs gets its process replaced."""
        interval = self._watcher.interval
        if interval is not None and time.monotonic() - self._told >= interval:
            self._told = time.monotonic()
            if not self._watcher.alive():
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop."""
        self._watcher.stopping()
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        self._lifecycle.draining.set()
        deadline = time.monotonic() + self._drain_timeout
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def make_server(settings: CommonSettings, app: FastAPI, watcher: Watcher | None = None) -> Server:
    """Configure uvicorn for ``app``; without a ``watcher``, systemd is told."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=64 * 1024,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=settings.keep_alive_timeout,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    return Server(config, app.state.lifecycle, settings.drain_timeout, watcher)
