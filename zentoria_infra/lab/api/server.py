"""The API server: HTTPS for users, a Unix socket for the lab's own ``pct``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import ssl
from collections.abc import Mapping

from aiohttp import web

from zentoria_infra.errors import LabError
from zentoria_infra.lab.api import endpoints, recovery
from zentoria_infra.lab.api.http import Frontend
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.routing import Router
from zentoria_infra.lab.layout import NODE, LabLayout
from zentoria_infra.lab.releases import NEWEST, release_of
from zentoria_infra.lab.runtime import GuestRuntime

DEFAULT_BRIDGES: Mapping[str, str] = {"vmbr0": "", "vmbr40": "10.10.47.254/20"}
"""Bridges of the lab's node: name to address with prefix, empty for a bridge without one."""
_WORKERS = 32
_STOP_WAIT = 20.0
_LINE = '%a - - %t "%r" %s %b'
"""A line of the access log. No header is in it, so no token."""


class ApiServer:
    """One node's API.

    Users, passwords and tokens are files that ``access.bootstrap`` has made before.

    Args:
        layout: where state is kept, and the port of 127.0.0.1 to listen on.
        runtime: what runs the containers.
        node: the node's name.
        ssl_context: of the HTTPS listener; None serves plain HTTP (tests).
        auth_delay: seconds that every 401 waits (Proxmox: 3).
        bridges: bridges that exist, name to address with prefix.
        release: one of those that a lab can be (:mod:`zentoria_infra.lab.releases`).
        port: TCP port instead of the layout's; 0 takes a free one.
        lock_timeout: seconds to wait for a container's lock (Proxmox: 10).
        fingerprint: SHA-256 of the certificate (``AA:BB:...``), told in the list of nodes.
    """

    def __init__(
        self,
        layout: LabLayout,
        runtime: GuestRuntime,
        *,
        node: str = NODE,
        ssl_context: ssl.SSLContext | None = None,
        auth_delay: float = 3.0,
        bridges: Mapping[str, str] = DEFAULT_BRIDGES,
        release: str = NEWEST,
        port: int | None = None,
        lock_timeout: float = 10.0,
        fingerprint: str = "",
    ) -> None:
        self._layout = layout
        self._ssl = ssl_context
        self._auth_delay = auth_delay
        self._wanted_port = layout.api_port if port is None else port
        self._runners: list[web.ServerRunner] = []
        self._logs: list[logging.Logger] = []
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self.node = Node(
            layout, runtime, name=node, release=release_of(release), bridges=bridges, lock_timeout=lock_timeout
        )
        self.node.fingerprint = fingerprint
        self.router = Router(endpoints.ALL, self.node.release.number)
        self.port = 0

    async def start(self) -> None:
        """Clean up what a crash left, then listen. Raises LabError when a port or the socket is taken."""
        loop = asyncio.get_running_loop()
        self._pool = concurrent.futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="api")
        await loop.run_in_executor(self._pool, recovery.recover, self.node)
        try:
            await self._listen_tcp()
            await self._listen_unix()
        except OSError as error:
            await self.stop()
            raise LabError(
                "start the API server",
                on=f"127.0.0.1:{self._wanted_port}",
                got=str(error),
                todo="see which program has the port (ss -ltnp), or give the lab another one",
            ) from error

    async def _runner(self, *, trusted: bool) -> web.ServerRunner:
        if self._pool is None:
            raise LabError("start the API server", got="it is not running", todo="start it first")
        frontend = Frontend(self.node, self.router, self._pool, trusted=trusted, auth_delay=self._auth_delay)
        # As pveproxy's access.log: requests from outside, whoever sent them; pct's own do not count.
        log = None if trusted else self._access_log()
        server = web.Server(frontend.handle, access_log=log, access_log_format=_LINE)
        runner = web.ServerRunner(server, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    def _access_log(self) -> logging.Logger:
        self._layout.logs.mkdir(parents=True, exist_ok=True)
        log = logging.Logger("access", logging.INFO)
        log.addHandler(logging.FileHandler(self._layout.access_log, delay=True))
        self._logs.append(log)
        return log

    async def _listen_tcp(self) -> None:
        runner = await self._runner(trusted=False)
        await web.TCPSite(runner, "127.0.0.1", self._wanted_port, ssl_context=self._ssl).start()
        self.port = int(runner.addresses[0][1])

    async def _listen_unix(self) -> None:
        path = self._layout.control_socket
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        runner = await self._runner(trusted=True)
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening, wait a little for tasks that still run, and let go of everything."""
        for runner in self._runners:
            await _close(runner)
        self._runners.clear()
        for log in self._logs:
            for handler in log.handlers:
                handler.close()
        self._logs.clear()
        self._layout.control_socket.unlink(missing_ok=True)
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self.node.tasks.wait, _STOP_WAIT)
            self._pool.shutdown(wait=False)
            self._pool = None


async def _close(runner: web.ServerRunner) -> None:
    """Stop listening. A TLS connection that a client keeps open would wait 30 s for its farewell: it is cut."""
    server = runner.server
    transports = [handler.transport for handler in server.connections] if isinstance(server, web.Server) else []
    await runner.cleanup()
    for transport in transports:
        # Python 3.11 raises it where the connection has ended by itself meanwhile.
        with contextlib.suppress(AttributeError):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
    await asyncio.sleep(0)
