"""The look from inside a guest whether targets are open: the real script, run here in place of in a guest."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from typing import cast

import pytest

from zentoria_infra.errors import GuestError
from zentoria_infra.execute.run.egress_probe import is_open
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.pct import ExecResult


class HerePct:
    """Runs on this machine what should run in a guest."""

    def __init__(self) -> None:
        self.calls = 0

    def exec(
        self,
        vmid: int,
        argv: Sequence[str],
        stdin: bytes | None = None,
        timeout: float | None = None,
        *,
        tried: str = "",
    ) -> ExecResult:
        self.calls += 1
        done = subprocess.run(argv, input=stdin or b"", capture_output=True, timeout=timeout, check=False)
        return ExecResult(done.returncode, done.stdout, done.stderr)


class DeadPct(HerePct):
    def exec(self, *args: object, **more: object) -> ExecResult:
        return ExecResult(255, b"", b"container '404' not running!\n")


class Node:
    def __init__(self, pct: HerePct) -> None:
        self.pct = pct


def node(pct: HerePct) -> Proxmox:
    return cast(Proxmox, Node(pct))


def silent() -> tuple[list[socket.socket], int]:
    """A port that answers nothing: its queue is full, so that the kernel drops further connections."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = server.getsockname()[1]
    kept = [server]
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        kept.append(client)
    return kept, port


def test_open_refused_and_silent_targets_in_one_round_trip() -> None:
    pct = HerePct()
    quiet, silent_port = silent()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as other:
        open_port, refused_port = listening.getsockname()[1], other.getsockname()[1]
        other.close()
        targets = [("127.0.0.1", port) for port in (open_port, refused_port, silent_port)]
        found = is_open(node(pct), 404, [*targets, targets[0], ("no-such-name.invalid", 80)], 0.5)
    for one in quiet:
        one.close()
    assert found == {
        ("127.0.0.1", open_port): True,
        ("127.0.0.1", refused_port): True,
        ("127.0.0.1", silent_port): False,
        ("no-such-name.invalid", 80): False,
    }
    assert pct.calls == 1


def test_nothing_to_try_asks_nothing() -> None:
    pct = HerePct()
    assert is_open(node(pct), 404, [], 1) == {}
    assert pct.calls == 0


def test_a_guest_that_cannot_tell_is_an_error() -> None:
    with pytest.raises(GuestError, match="container '404' not running") as caught:
        is_open(node(DeadPct()), 404, [("192.0.2.1", 80)], 1)
    assert caught.value.todo
