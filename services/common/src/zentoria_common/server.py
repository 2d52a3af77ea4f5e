"""uvicorn on all ports, with a stop that loses no request."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping

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


class Server(uvicorn.Server):
    """A uvicorn server that tells systemd how it is, and drains before it closes connections.

    uvicorn closes a quiet connection as soon as it stops, also when a request for it is in the kernel's buffer already;
    that client sees a reset. We stop accepting, go on answering (each answer says ``Connection: close``) for
    ``drain_timeout`` seconds or until all have left, and then let uvicorn finish.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_timeout: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_timeout = drain_timeout
        self._watchdog = systemd.watchdog_interval()
        self._petted = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so when requests are answered."""
        await super().startup(sockets)
        if self.started:
            systemd.notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Pet systemd's watchdog from the event loop: a loop that hangs gets the service restarted."""
        if self._watchdog is not None and time.monotonic() - self._petted >= self._watchdog:
            self._petted = time.monotonic()
            systemd.notify("WATCHDOG=1")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop."""
        systemd.notify("STOPPING=1")
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        self._lifecycle.draining.set()
        deadline = time.monotonic() + self._drain_timeout
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def make_server(settings: CommonSettings, app: FastAPI) -> Server:
    """Configure uvicorn for ``app``."""
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
    return Server(config, app.state.lifecycle, settings.drain_timeout)
