"""The gateway as its unit runs it, in a thread of the test's process: both protocols on one port of loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from fastapi import FastAPI
from zentoria_common.server import Server, make_server


class Live:
    """A server that answers at ``url``."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        self.app = app
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(128)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: Server = make_server(app.state.settings, app)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self.server.started:
            assert self._thread.is_alive() and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)

    def tell_to_stop(self) -> None:
        self.server.should_exit = True

    def stop(self) -> None:
        self.tell_to_stop()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server did not stop"


@contextlib.contextmanager
def live(app: FastAPI, port: int = 0) -> Iterator[Live]:
    """Serve ``app`` until the end of the block."""
    server = Live(app, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
