"""The firewall on real packets: from inside real guests, after a real `up`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import patience
from tests.support.stack import Run, Stack, copy_project
from zentoria_infra.node import state

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

LISTEN = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while said := self.request.recv(100):
            self.request.sendall(said)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("0.0.0.0", 6333), Echo).serve_forever()
"""
"""Stands in for Qdrant in embeddings; ends with its unit."""

HOLD = """
import socket, time
for _ in range(50):
    try:
        far = socket.create_connection(("10.10.41.9", 6333), 1)
        break
    except OSError:
        time.sleep(0.2)
far.settimeout(1)
log = open("/run/held", "a", buffering=1)
end = time.monotonic() + 240
while time.monotonic() < end:
    try:
        far.sendall(b"PING")
        log.write("alive\\n" if far.recv(100) else "closed\\n")
    except OSError as error:
        log.write(f"dead {type(error).__name__}\\n")
    time.sleep(0.3)
"""
"""Holds a connection from voice to embeddings, and notes every 0.3 s whether it still answers. It ends by itself."""


@pytest.fixture(scope="module", autouse=True)
def as_the_inventory_says(lab: Stack, cold: Run) -> Iterator[None]:
    yield
    lab.zentoria("up", "--yes", check=True)


def inside(stack: Stack, name: str, *command: str) -> Run:
    return stack.zentoria("exec", name, "--", *command)


def is_open(stack: Stack, name: str, host: str, port: int) -> bool:
    return inside(stack, name, "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}").code == 0


def api(stack: Stack, method: str, path: str, **data: str) -> object:
    from zentoria_infra.lab.shell.control_socket import call

    return call(str(stack.folder / "run" / "control.sock"), method, path, data)


def test_a_lost_flow_is_gone_and_its_open_connection_dead(stack: Stack, tmp_path: Path) -> None:
    inside(stack, "voice", "rm", "-f", "/run/held")
    with held(stack):
        run = Stack(stack.name, without_voice_to_embeddings(tmp_path)).zentoria("up", "--yes", check=True)
        assert "voice → embeddings tcp/6333: lost" in run.out, run.said()
        inside(stack, "voice", "sh", "-c", "echo cut >> /run/held")
        time.sleep(4)
        after = inside(stack, "voice", "cat", "/run/held").out.rpartition("cut")[2].split("\n")
        assert any(line.startswith("dead") for line in after), after
        assert "alive" not in after, after
        assert not is_open(stack, "voice", "10.10.41.9", 6333)
        assert is_open(stack, "ai", "10.10.41.9", 6333)
        stack.zentoria("up", "--yes", check=True)
        assert is_open(stack, "voice", "10.10.41.9", 6333)


@contextmanager
def held(stack: Stack) -> Iterator[None]:
    for name, program in (("embeddings", LISTEN), ("voice", HOLD)):
        unit = ["systemd-run", "--quiet", "--unit", "zt-test", "python3", "-c", program]
        assert inside(stack, name, *unit).code == 0
    try:
        until = time.monotonic() + 30
        while "alive" not in inside(stack, "voice", "sh", "-c", "cat /run/held 2>/dev/null").out:
            assert time.monotonic() < until, "the connection does not come about"
        yield
    finally:
        for name in ("embeddings", "voice"):
            inside(stack, name, "systemctl", "stop", "zt-test")


def without_voice_to_embeddings(tmp_path: Path) -> Path:
    """The project without that flow (row 27), and without the need for it."""
    project = copy_project(tmp_path / "project")
    changed = {"zones.yaml": r"  - row: 27\n(    .*\n)+", "inventory/containers/413-voice.yaml": r".*embeddings\..*\n"}
    for name, pattern in changed.items():
        file = project / name
        fewer, count = re.subn(pattern, "", file.read_text())
        assert count == 1, name
        file.write_text(fewer)
    return project


def test_package_sources_are_closed_after_a_deploy(stack: Stack) -> None:
    for name in ("db", "frontend", "waf"):
        assert not is_open(stack, name, "10.10.47.254", 3128)


def test_an_opening_that_a_dead_run_left_is_red_in_status_and_closed_by_the_node_once_the_lock_expires(
    stack: Stack,
) -> None:
    """While somebody holds the site's lock it is theirs; afterwards nobody would close it but the next run."""
    (site,) = (one.name for one in (stack.folder / "state").iterdir())
    remembered = ["--site", site]
    run = "0123456789abcdef"
    begun, _ = state.answer([*remembered, "begin", run, "--lease", "600"], lambda _: b"{}", str(stack.folder / "state"))
    assert begun == 0
    try:
        api(
            stack, "POST", "/nodes/pve/lxc/404/firewall/rules", type="out", action="ACCEPT", enable="1", iface="net0",
            dest="10.10.47.254", proto="tcp", dport="3128", comment="zt/opening/db/tcp Packages",
        )  # fmt: skip
        wait_until(lambda: is_open(stack, "db", "10.10.47.254", 3128), "the lab does not take the rule up")
        status = stack.zentoria("status", "--json")
        assert status.code == 1
        line = next(one for one in json.loads(status.out)["containers"] if one["vmid"] == 404)
        assert line["firewall"] == "PACKAGE SOURCES OPEN"
        assert line["good"] is False
    finally:
        state.answer([*remembered, "end", run], lambda _: b"{}", str(stack.folder / "state"))
    wait_until(lambda: not is_open(stack, "db", "10.10.47.254", 3128), "the node does not close it")
    assert stack.zentoria("status").code == 0


def wait_until(found: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    until = time.monotonic() + patience(seconds)
    while not found():
        assert time.monotonic() < until, otherwise


def test_the_proof_holds_for_what_the_node_has(stack: Stack) -> None:
    run = stack.zentoria("firewall", "prove", "--observed")
    assert run.code == 0, run.said()
