"""Pid files, ports, and programs that are kept running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.patience import patience
from zentoria_infra.errors import LabError
from zentoria_infra.lab.network import ports
from zentoria_infra.lab.pidfile import PidFile, started
from zentoria_infra.lab.registry import Ports
from zentoria_infra.lab.supervisor import Supervisor

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
LISTEN = """
import socket, sys, time
listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1]))); listener.listen()
print("listening", flush=True)
while True: listener.accept()[0].close()
"""


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + patience(seconds)
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_pid_file_knows_its_process(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "run/x.pid")
    assert file.alive() == 0
    process = subprocess.Popen(SLEEP)
    file.write(process.pid)
    assert file.alive() == process.pid
    process.kill()
    until(lambda: file.alive() == 0)  # it is a zombie now: nobody has waited for it
    process.wait()
    assert file.alive() == 0


def test_a_reused_number_is_another_process(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "x.pid")
    file.path.write_text(f"{os.getpid()} {started(os.getpid()) - 1}\n")
    assert file.alive() == 0
    assert file.end(0) is False
    assert not file.path.exists()


@pytest.mark.parametrize("text", ["", "x y", "12", "1 2 3", "-1 0"])
def test_a_broken_pid_file_is_no_process(tmp_path: Path, text: str) -> None:
    file = PidFile(tmp_path / "x.pid")
    file.path.write_text(text)
    assert file.alive() == 0


def test_a_process_that_ignores_sigterm_ends_all_the_same(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    file = PidFile(tmp_path / "x.pid")
    file.write(process.pid)
    assert file.end(0.1) is True
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_a_taken_port_is_told_with_who_has_it() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = int(listener.getsockname()[1])
        with pytest.raises(LabError) as caught:
            ports.require_free(Ports(taken, *(free_port() for _ in range(3))))
        assert f"port {taken} is taken by pid {os.getpid()} (" in caught.value.got
        assert "--api-port" in caught.value.todo
        ports.require_free(Ports(free_port(), free_port(), taken, free_port()), but=("https",))


def test_one_port_twice_is_refused() -> None:
    with pytest.raises(LabError, match="used twice"):
        ports.require_free(Ports(5000, 5000, 5001, 5002))


def test_free_ports_are_four_that_can_be_listened_on() -> None:
    found = ports.free_ports()
    assert len(set(found.named().values())) == 4
    ports.require_free(found)


def supervisor(folder: Path, argv: list[str], port: int) -> Supervisor:
    return Supervisor("it", argv, folder / "log", PidFile(folder / "pid"), lambda: ports.answers(port), seconds=20)


def test_a_program_is_started_again_when_it_dies(tmp_path: Path) -> None:
    port = free_port()
    file = PidFile(tmp_path / "pid")

    async def scenario() -> None:
        kept = supervisor(tmp_path, [sys.executable, "-I", "-S", "-c", LISTEN, str(port)], port)
        await kept.start()
        first = file.alive()
        assert first
        os.kill(first, signal.SIGKILL)
        while file.alive() in (0, first):
            await asyncio.sleep(0.02)
        while not ports.answers(port):
            await asyncio.sleep(0.02)
        await kept.stop()
        assert file.alive() == 0

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert ports.is_free(port)


def test_one_left_by_a_killed_daemon_makes_room(tmp_path: Path) -> None:
    port = free_port()
    argv = [sys.executable, "-I", "-S", "-c", LISTEN, str(port)]
    old = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    PidFile(tmp_path / "pid").write(old.pid)
    until(lambda: ports.answers(port))

    async def scenario() -> None:
        kept = supervisor(tmp_path, argv, port)
        await kept.start()
        assert PidFile(tmp_path / "pid").alive() not in (0, old.pid)
        await kept.stop()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert old.wait(5) == -signal.SIGTERM


def test_a_program_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", "-c", "raise SystemExit('no such key')"]
    kept = supervisor(tmp_path, argv, free_port())
    with pytest.raises(LabError, match="it ended: no such key"):
        asyncio.run(kept.start())
    assert not (tmp_path / "pid").exists()
