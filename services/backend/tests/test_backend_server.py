"""The real process: both ports, WebSocket, sockets from outside, restarts while requests come in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets
from backend_fakes import FakeProbe, app_with, settings
from websockets.asyncio.client import connect
from zentoria_common import systemd
from zentoria_common.server import make_server

# Puts the inherited sockets where systemd puts them, says so as systemd does, and becomes the service.
ACTIVATED = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 50) for fd in sys.argv[1:]]
for index, fd in enumerate(fds):
    os.dup2(fd, 3 + index)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http:ws")
from zentoria_backend.main import run
run(["serve"])
"""


def listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


class Service:
    """The service as systemd runs it, with dependencies that refuse connections."""

    def __init__(self, folder: Path) -> None:
        for name in ("database_password", "redis_password", "s3_secret_key"):
            (folder / name).write_text("hunter2")
            (folder / name).chmod(0o600)
        self.sockets = (listener(), listener())
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(60)
        self.log = (folder / "log").open("wb")
        self.environment = {
            "PATH": os.environ["PATH"],
            "CREDENTIALS_DIRECTORY": str(folder),
            "NOTIFY_SOCKET": str(folder / "notify"),
            "ZENTORIA_DATABASE_HOST": "127.0.0.1",
            "ZENTORIA_DATABASE_PORT": "1",
            "ZENTORIA_DATABASE_USER": "backend",
            "ZENTORIA_REDIS_HOST": "127.0.0.1",
            "ZENTORIA_REDIS_PORT": "1",
            "ZENTORIA_REDIS_USER": "backend",
            "ZENTORIA_S3_ENDPOINT": "http://127.0.0.1:1",
            "ZENTORIA_S3_ACCESS_KEY": "backend",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        fds = [sock.fileno() for sock in self.sockets]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATED, *map(str, fds)],
            pass_fds=fds,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
        )
        assert self.notified.recv(100) == b"READY=1"

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.notified.recv(100) == b"STOPPING=1"
        return self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for sock in (*self.sockets, self.notified):
            sock.close()
        self.log.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    try:
        yield service
    finally:
        service.close()


def test_both_ports_serve_and_a_stop_is_clean(service: Service, tmp_path: Path) -> None:
    service.start()
    for sock in service.sockets:
        answer = httpx.get(f"http://127.0.0.1:{port_of(sock)}/api/v1/health", timeout=30)
        assert answer.status_code == 503
        reasons = {name: each["error"] for name, each in answer.json()["dependencies"].items()}
        assert reasons == dict.fromkeys(("database", "schema", "redis", "s3"), "connection refused")
    assert service.stop() == 0
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert next(line for line in log if line["event"] == "starting")["sockets"] == ["http", "ws"]
    assert "hunter2" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_under_load_fails_no_request(service: Service, workers: int) -> None:
    service.environment["ZENTORIA_WORKERS"] = str(workers)
    service.start()
    url = f"http://127.0.0.1:{port_of(service.sockets[0])}/api/v1/health/live"
    stop = threading.Event()
    answered = [0, 0, 0]
    failures: list[str] = []

    def load(index: int, *, keep_alive: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if keep_alive else 0)
        with httpx.Client(timeout=60, limits=limits) as client:
            while not stop.is_set() and answered[index] < 50_000:
                try:
                    status = client.get(url).status_code
                except httpx.HTTPError as error:
                    failures.append(repr(error))
                    return
                if status != 200:
                    failures.append(str(status))
                answered[index] += 1

    threads = [threading.Thread(target=load, args=(index,), kwargs={"keep_alive": index == 0}) for index in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            before = list(answered)
            assert service.stop() == 0
            service.start()
            while not failures and any(now <= then for now, then in zip(answered, before, strict=True)):
                stop.wait(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(answered) > 0


@pytest.mark.asyncio
async def test_the_websockets_port_asks_redis_for_tickets(service: Service) -> None:
    await asyncio.to_thread(service.start)
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{port_of(service.sockets[1])}/ws?ticket={'A' * 43}", proxy=None):
            pass
    assert refused.value.response.status_code == 503
    assert await asyncio.to_thread(service.stop) == 0


class Running:
    """A server in this process, with probes that a test turns."""

    def __init__(self, **changes: float) -> None:
        self.redis = FakeProbe("redis")
        self.app = app_with((FakeProbe("database"), self.redis), **changes)
        self.server = make_server(settings(**changes), self.app)
        self.sock = listener()
        self.port = port_of(self.sock)
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.server._serve([self.sock]))
        while not self.server.started:
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        assert self.task is not None
        self.server.should_exit = True
        await self.task


@pytest.mark.asyncio
async def test_a_request_in_flight_finishes_after_the_stop() -> None:
    async with Running(drain_timeout=0.05, dependency_timeout=20.0) as running:
        gate = asyncio.Event()
        running.redis.before = gate.wait
        async with httpx.AsyncClient(timeout=30) as client:
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{running.port}/api/v1/health"))
            while not running.server.server_state.tasks:
                await asyncio.sleep(0.01)
            stopping = asyncio.create_task(running.stop())
            await running.app.state.lifecycle.draining.wait()
            gate.set()
            answer = await asking
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
            await stopping


@pytest.mark.asyncio
async def test_a_connection_that_was_quiet_when_the_stop_began_still_gets_its_answer() -> None:
    async with Running(drain_timeout=20.0) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        while not running.server.server_state.connections:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(running.stop())
        await running.app.state.lifecycle.draining.wait()
        writer.write(b"GET /api/v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await stopping


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http:ws"}
    assert systemd.activated_sockets(environment) == {}
    assert environment == {}


def test_an_address_that_is_taken_is_one_line_and_exit_1(service: Service) -> None:
    environment = service.environment | {"ZENTORIA_HTTP_PORT": str(port_of(service.sockets[0]))}
    done = subprocess.run(
        [sys.executable, "-c", "from zentoria_backend.main import run; run([])"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "zentoria-backend: cannot listen: Address already in use\n"


def test_check_prints_what_failed_with_details(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from zentoria_backend.main import run; run(['check', '--wait', '2'])"],
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["status"] == "error"
    assert report["tries"] >= 2
    assert "127.0.0.1" in report["details"]["redis"]
    assert "hunter2" not in done.stdout + done.stderr


def test_notify_speaks_to_abstract_sockets_too() -> None:
    name = f"zentoria-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        assert systemd.notify("READY=1", {"NOTIFY_SOCKET": "@" + name})
        assert manager.recv(100) == b"READY=1"
    assert not systemd.notify("READY=1", {"NOTIFY_SOCKET": "@" + name})
    assert not systemd.notify("READY=1", {})


def test_the_watchdog_is_petted_twice_an_interval() -> None:
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "10000000"}) == 5.0
    assert systemd.watchdog_interval({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}) is None
    assert systemd.watchdog_interval({}) is None
