"""A proxy over TLS in front of a Proxmox API, which spoils calls of one endpoint."""

from __future__ import annotations

import collections
import http.client
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from tests.faults.faults_kinds import NO_QUORUM, NO_QUORUM_SHARED, Fault, How
from zentoria_infra.proxmox.endpoints import ENDPOINTS, ApiCall

API = "/api2/json"
PATIENCE = 0.01
"""Seconds that a client waits for the answer that is held back; only for that one."""
LOG = ("this line is of the task's log", "and this is its end")
_NO_LINGER = struct.pack("ii", 1, 0)
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"})
_PATTERNS = tuple(
    (one, re.compile(re.sub(r"\\?\{[^}]+\\?\}", "[^/]+", one.template.replace(".", r"\.")))) for one in ENDPOINTS
)


def endpoint_of(verb: str, path: str) -> ApiCall | None:
    """The endpoint that a request is for; a path without names before one with them."""
    found = [one for one, pattern in _PATTERNS if one.verb == verb and pattern.fullmatch(path)]
    return min(found, key=lambda one: one.template.count("{"), default=None)


@dataclass
class Armed:
    """What is spoiled, and how often it was."""

    call: ApiCall
    fault: Fault
    canary: str = ""
    """A secret that the refusal quotes."""
    hits: int = 0
    upids: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)
    settled: threading.Event = field(default_factory=threading.Event)
    """The node has done what the held call asked, or never will."""

    @property
    def ready(self) -> bool:
        """Whether the next call is spoiled."""
        return not self.over.is_set() and (self.fault.stays or not self.hits)


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    reason: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class FaultyProxy:
    """Listens at ``port``. ``calls`` counts what came by endpoint, since the last :meth:`forget`.

    Args:
        upstream: opens a connection to the real API.
        cert: certificate of the proxy.
        key: its key.
    """

    def __init__(self, upstream: Callable[[], http.client.HTTPConnection], cert: Path, key: Path) -> None:
        self.calls: collections.Counter[tuple[str, str]] = collections.Counter()
        self.with_digest: set[tuple[str, str]] = set()
        self._armed: dict[tuple[str, str], Armed] = {}
        self._upstream = upstream
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def arm(self, call: ApiCall, fault: Fault, canary: str = "") -> Armed:
        """Spoil calls of an endpoint from now on."""
        made = self._armed[call.verb, call.template] = Armed(call, fault, canary)
        return made

    def disarm(self, *, met: bool = False) -> list[Armed]:
        """All is well again; with ``met``, where a fault was met already. What was disarmed."""
        over = {key: one for key, one in self._armed.items() if one.hits or not met}
        self._armed = {key: one for key, one in self._armed.items() if key not in over}
        for one in over.values():
            one.over.set()
        return list(over.values())

    @property
    def armed(self) -> tuple[Armed, ...]:
        """What is spoiled."""
        return tuple(self._armed.values())

    def at(self, call: ApiCall | None) -> Armed | None:
        """The fault that the next call of an endpoint meets."""
        armed = self._armed.get((call.verb, call.template)) if call is not None else None
        return armed if armed is not None and armed.ready else None

    def of_task(self, upid: str) -> Fault | None:
        """The fault of a task that is not what it seems."""
        return next((one.fault for one in self._armed.values() if upid in one.upids), None)

    def forget(self) -> None:
        """Forget the calls that came."""
        self.calls.clear()
        self.with_digest.clear()

    def will_hold(self, verb: str, path: str) -> Armed | None:
        """The fault, if the answer to this request is going to be held back."""
        armed = self.at(endpoint_of(verb, path))
        return armed if armed is not None and armed.fault.how is How.HOLD else None

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the real API."""
        return self._upstream()

    def stop(self) -> None:
        self.disarm()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class ImpatientAdapter(HTTPAdapter):
    """Waits as long as always, but not for the answer that is going to be held back.

    When it gives up, the node has done what it is going to do: what then happens does not depend on the clock.
    """

    def __init__(self, proxy: FaultyProxy) -> None:
        self._proxy = proxy
        super().__init__(pool_maxsize=32)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        path = urlsplit(request.url or "").path.removeprefix(API)
        armed = self._proxy.will_hold(str(request.method), path)
        if armed is None:
            return super().send(request, *args, **options)
        try:
            return super().send(request, *args, **{**options, "timeout": (5, PATIENCE)})
        except requests.exceptions.ReadTimeout:
            assert armed.settled.wait(10)
            raise


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what this is for."""


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True
        wbufsize = -1
        node: http.client.HTTPConnection | None = None

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def finish(self) -> None:
            try:
                super().finish()
            finally:
                if self.node is not None:
                    self.node.close()

        def _serve(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            path = parts.path.removeprefix(API)
            call = endpoint_of(self.command, path)
            if call is not None:
                key = (call.verb, call.template)
                proxy.calls[key] += 1
                if b"digest=" in self.body or "digest=" in parts.query:
                    proxy.with_digest.add(key)
            if armed := proxy.at(call):
                armed.hits += 1
                self._spoil(armed, path)
            elif fault := proxy.of_task(unquote(path).rpartition("/")[0].rpartition("/")[2]):
                self._give(_task(fault, path.endswith("/log")))
            else:
                self._give(self._forward())

        def _spoil(self, armed: Armed, path: str) -> None:
            fault = armed.fault
            if fault.how is How.REFUSE:
                self._give(_refusal(armed))
            elif fault.how is How.TASK:
                found = re.search(r"/lxc/(\d+)", path) or re.search(r"vmid=(\d+)", self.body.decode())
                number = found[1] if found else "1"
                pid = f"{armed.hits:08X}"
                upid = f"UPID:{path.split('/')[2]}:{pid}:00000001:6B034859:vzfake:{number}:root@pam:"
                armed.upids.add(upid)
                self._give(_data(upid))
            elif fault.how is How.ENDLESS:
                answer = self._forward()
                if answer.status == 200:
                    armed.upids.add(json.loads(answer.body)["data"])
                self._give(answer)
            else:
                answer = self._forward() if fault.carried_out else None
                armed.settled.set()
                if fault.how is How.HOLD:
                    armed.over.wait(10)
                self._break(answer)

        def _forward(self) -> Answer:
            """Send the request on over a connection that is kept; a new one when the node has closed it."""
            headers = {
                key: value for key, value in self.headers.items() if key.lower() not in _HOP - {"content-length"}
            }
            headers.pop("Accept-Encoding", None)
            for _ in range(2):
                if self.node is None:
                    self.node = proxy.connect()
                try:
                    self.node.request(self.command, self.path, self.body or None, headers)
                    answer = self.node.getresponse()
                    body = answer.read()
                    break
                except http.client.RemoteDisconnected:
                    self.node.close()
                    self.node = None
            else:
                return Answer(502, "the node has closed the connection", b"")
            if answer.will_close:
                self.node.close()
                self.node = None
            kept = tuple((key, value) for key, value in answer.getheaders() if key.lower() not in _HOP)
            return Answer(answer.status, answer.reason, body, kept)

        def _give(self, answer: Answer) -> None:
            self._head(answer)
            self.wfile.write(answer.body)

        def _head(self, answer: Answer) -> None:
            self.send_response(answer.status, answer.reason)
            for key, value in answer.headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()

        def _break(self, answer: Answer | None) -> None:
            """Reset the connection, after half of the answer if there is one."""
            self.close_connection = True
            if answer is not None:
                self._head(answer)
                self.wfile.write(answer.body[: len(answer.body) // 2])
                self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = _serve

    return Handler


def _data(value: object) -> Answer:
    return Answer(200, "OK", json.dumps({"data": value}).encode())


def _refusal(armed: Armed) -> Answer:
    """As pveproxy does it: 401 and 595 have no body, and the text of the others is in the reason as well."""
    fault = armed.fault
    need = next((f"{one.path}, {one.privilege}" for one in armed.call.needs), "/, Sys.Modify")
    text = fault.text.replace("{right}", need)
    if fault is NO_QUORUM and "{vmid}" not in armed.call.template:
        text = NO_QUORUM_SHARED
    if fault.status in (401, 595):
        return Answer(fault.status, f"{text} {armed.canary}".strip(), b"")
    body = json.dumps({"data": None, "message": f"{text}\n"}).encode()
    return Answer(fault.status, text, body)


def _task(fault: Fault, log: bool) -> Answer:
    if log:
        return _data([{"n": number, "t": text} for number, text in enumerate(LOG, 1)])
    if fault.how is How.ENDLESS:
        return _data({"status": "running"})
    return _data({"status": "stopped", "exitstatus": fault.text})
