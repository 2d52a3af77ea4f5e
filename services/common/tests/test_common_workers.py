"""Several workers of one service: they serve together, are replaced when they die or hang, and end together."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from zentoria_common.metrics import merged
from zentoria_common.siblings import Siblings, listeners

SERVICE = """
import dataclasses, os, sys
from zentoria_common import workers
from zentoria_common.application import make_app
from zentoria_common.program import Program
from zentoria_common.settings import CommonSettings

@dataclasses.dataclass(frozen=True)
class Secrets:
    pass

def app(settings, secrets):
    if os.path.exists(sys.argv[1] + "/broken"):
        sys.exit(3)
    made = make_app(settings, (), name="x", title="x", version="1")
    here = made.state.siblings
    kept = ["old"]

    async def forget():
        kept.clear()
        return str(here.index).encode()

    here.on("forget", forget)

    @made.get("/who")
    async def who():
        return {"pid": os.getpid(), "index": here.index, "kept": kept}

    @made.get("/forget")
    async def tell():
        return {"told": sorted(await here.ask("forget"))}

    return made

workers.HANGS_SECONDS = float(os.environ.get("HANGS", "300"))
ports = lambda settings: {"http": settings.http_port}
Program("zentoria-x", "x", "1", CommonSettings, Secrets, lambda *_: (), app, ports).run(["serve"])
"""


class Service:
    """A service with two workers, as a process of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(folder)],
            env={
                "PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(folder / "notify"), "ZENTORIA_WORKERS": "2",
                "ZENTORIA_HTTP_PORT": str(self.port), **environment,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, path: str) -> httpx2.Response:
        """A request on a connection of its own: whichever worker takes it."""
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def pids(self) -> dict[int, int]:
        """Processes by their place, as the kernel knows them: the parent's children."""
        found: dict[int, int] = {}
        until(lambda: found.update(_one(self.ask("/who"))) or len(found) == 2)
        return found

    def children(self) -> set[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(each) for each in text.split()}

    def close(self) -> None:
        children = self.children() if self.process.poll() is None else set()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.notified.close()


def _one(answer: httpx2.Response) -> dict[int, int]:
    return {answer.json()["index"]: answer.json()["pid"]}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    try:
        assert service.notified.recv(100) == b"READY=1"
        yield service
    finally:
        service.close()


def test_they_serve_together_know_of_each_other_and_end_together(service: Service) -> None:
    pids = service.pids()
    assert set(pids.values()) == service.children()
    # what one is told, all know when it has answered
    assert service.ask("/forget").json()["told"] in ([0], [1])
    kept = {answer["index"]: answer["kept"] for answer in (service.ask("/who").json() for _ in range(60))}
    assert sorted(len(each) for each in kept.values()) in ([0, 1], [0], [1])
    text = service.ask("/metrics").text
    counted = re.findall(
        r'zentoria_http_requests_total\{method="GET",route="/who",status="200",worker="(\d)"\} (\d+)', text
    )
    assert {index for index, _ in counted} == {"0", "1"}
    assert text.count("# TYPE zentoria_http_requests_total counter") == 1
    service.process.send_signal(signal.SIGTERM)
    assert service.notified.recv(100) == b"STOPPING=1"
    assert service.process.wait(60) == 0
    assert not any(alive(pid) for pid in pids.values())


def test_one_that_dies_is_replaced_and_takes_its_place(service: Service) -> None:
    before = service.pids()
    os.kill(before[0], signal.SIGKILL)
    after: dict[int, int] = {}
    until(lambda: after.update(_one(service.ask("/who"))) or after.get(0, before[0]) != before[0])
    assert after.get(1, before[1]) == before[1]
    assert service.process.poll() is None
    told = service.ask("/forget").json()["told"]
    assert told in ([0], [1])


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    service = Service(tmp_path, HANGS="3")
    try:
        assert service.notified.recv(100) == b"READY=1"
        hanging = service.pids()[1]
        os.kill(hanging, signal.SIGSTOP)
        until(lambda: not alive(hanging))
        until(lambda: len(service.children()) == 2)
    finally:
        service.close()


def test_whose_parent_is_gone_ends_too(service: Service) -> None:
    pids = service.pids()
    service.process.kill()
    until(lambda: not any(alive(pid) for pid in pids.values()))


def test_a_worker_that_cannot_begin_ends_the_service_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    service = Service(tmp_path)
    try:
        assert service.process.wait(60) == 3
    finally:
        service.close()


@pytest.mark.asyncio
async def test_siblings_answer_each_other_and_nobody_waits_for_one_that_is_away() -> None:
    sockets = listeners(3)
    one, other = Siblings(0, sockets), Siblings(1, sockets)

    async def said() -> bytes:
        return b"x" * 100_000

    other.on("what", said)
    sockets[2].close()  # of one that is not there
    async with other.run():
        answers = await one.ask("what", timeout=5)
        assert answers == {1: b"x" * 100_000}
        assert await one.ask("unknown", timeout=5) == {}
    assert await Siblings().ask("what") == {}
    for sock in sockets[:2]:
        sock.close()


def test_metrics_of_all_are_one_text() -> None:
    one = b'# HELP a_total A\n# TYPE a_total counter\na_total{x="\\"y\\n"} 2.0\n# HELP g G\n# TYPE g gauge\ng 1.0\n'
    other = b'# HELP a_total A\n# TYPE a_total counter\na_total{x="z"} 3.0\n'
    text = merged({1: other, 0: one}).decode()
    assert text.splitlines() == [
        "# HELP a_total A", "# TYPE a_total counter", 'a_total{worker="0",x="\\"y\\n"} 2.0',
        'a_total{worker="1",x="z"} 3.0', "# HELP g G", "# TYPE g gauge", 'g{worker="0"} 1.0',
    ]  # fmt: skip
