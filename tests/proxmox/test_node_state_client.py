"""``zentoria-state`` on a node, asked over a real SSH server that answers as real nodes do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxmox.proxmox_ssh_server import FakeNode
from zentoria_infra.errors import AuthError, UnreachableError
from zentoria_infra.node import gate
from zentoria_infra.node import state as program
from zentoria_infra.proxmox.shell.node_state import HeldError, MissingProgramError, ProgramState, SshRunner, StateError
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget

SHOW = "zentoria-state --site home show"
RUN = "a" * 12
HELD = {
    "id": RUN, "since": "2026-11-25T19:13:22Z", "address": "192.0.2.7", "record": {"who": "ada@desk"}, "lease": 60,
    "left": 42.5,
}  # fmt: skip


def answer(**values: object) -> bytes:
    return json.dumps({"zentoria-state": 1, **values}).encode()


def connection(node: FakeNode, key: Path) -> SshConnection:
    host_key = f"{node.host_key.get_name()} {node.host_key.get_base64()}"
    return SshConnection(SshTarget("127.0.0.1", host_key, port=node.port, key_file=key, connect_timeout=10))


@pytest.fixture
def state(node: FakeNode, keys: dict[str, Path]) -> Iterator[ProgramState]:
    ssh = connection(node, keys["user"])
    yield ProgramState("home", SshRunner(ssh, "pve", timeout=5))
    ssh.close()


def test_answers_are_read(node: FakeNode, state: ProgramState) -> None:
    node.others[SHOW] = (0, answer(held=HELD), b"")
    holder = state.holder()
    assert holder is not None
    assert (holder.id, holder.address, holder.left, holder.record) == (RUN, "192.0.2.7", 42.5, {"who": "ada@desk"})
    node.others[f"zentoria-state --site home begin {RUN} --lease 60.000 --instead {'b' * 12} --get applied"] = (
        0, answer(after=None, documents={"applied": "aGFsbG8="}), b"",
    )  # fmt: skip
    begun = state.begin(RUN, {"who": "x"}, lease=60, instead="b" * 12, documents=["applied"])
    assert begun.documents == {"applied": b"hallo"}
    node.others[f"zentoria-state --site home renew {RUN}"] = (75, answer(held=HELD), b"")
    with pytest.raises(HeldError) as caught:
        state.renew(RUN)
    assert caught.value.holder == holder


MISSING = {
    "a shell's words": (127, b"", b"bash: line 1: zentoria-state: command not found\n"),
    "a file that may not be run": (126, b"", b"bash: /usr/local/sbin/zentoria-state: Permission denied\n"),
    "the gate's words": (126, b"", b"zentoria-gate: only Zentoria's own commands may be run here: not 'x'\n"),
    "the gate finds no program": (
        2, b"", b"python3: can't open file '/usr/local/sbin/zentoria-state': [Errno 2] No such file or directory\n",
    ),
    "a lab of before": (255, b"", b"only 'pct' may be run here, not 'zentoria-state'\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_a_node_without_the_program_is_told_apart(node: FakeNode, state: ProgramState, case: str) -> None:
    node.others[SHOW] = MISSING[case]
    with pytest.raises(MissingProgramError) as caught:
        state.holder()
    assert "zentoria bootstrap" in str(caught.value)


@pytest.mark.parametrize(
    "outcome",
    [
        (1, b"", b"Traceback (most recent call last):\nMemoryError\n"),
        (74, answer(error={"kind": "io", "text": "/var/lib/zentoria: No such file or directory"}), b""),
        (0, b"", b""),
        (0, b"not JSON", b""),
        (0, b"[1]", b""),
    ],
)
def test_a_program_that_fails_is_not_a_missing_one(
    node: FakeNode, state: ProgramState, outcome: tuple[int, bytes, bytes]
) -> None:
    """Else two runs would be at work at once, each with a lock on its own machine."""
    node.others[SHOW] = outcome
    with pytest.raises(StateError) as caught:
        state.holder()
    assert not isinstance(caught.value, MissingProgramError)
    assert caught.value.todo


def test_a_cut_and_a_key_that_is_not_accepted_are_not_a_missing_program(
    node: FakeNode, state: ProgramState, keys: dict[str, Path]
) -> None:
    def cut() -> tuple[int, bytes, bytes]:
        node.drop()
        return 127, b"", b""

    node.others[SHOW] = cut
    with pytest.raises(UnreachableError):
        state.holder()
    ssh = connection(node, keys["stranger"])
    with pytest.raises(AuthError):
        ProgramState("home", SshRunner(ssh, "pve")).holder()
    ssh.close()


def test_a_program_that_does_not_answer_in_time_is_told(node: FakeNode, keys: dict[str, Path]) -> None:
    ssh = connection(node, keys["user"])
    done = threading.Event()

    def silent() -> tuple[int, bytes, bytes]:
        done.wait(20)
        return 0, answer(held=None), b""

    node.others[SHOW] = silent
    with pytest.raises(StateError, match="see who holds the site's lock") as caught:
        ProgramState("home", SshRunner(ssh, "pve", timeout=0.5)).holder()
    assert "gave no answer within" in caught.value.got
    done.set()
    ssh.close()


def test_names_are_looked_at_before_anything_is_sent(node: FakeNode, state: ProgramState) -> None:
    for name in ("", "../x", "Upper", "-x", "x" * 65, "a b", "a;id"):
        for call in (
            lambda name=name: state.get(name),
            lambda name=name: state.put(name, b""),
            lambda name=name: state.end(RUN, {}, {name: b""}),
            lambda name=name: state.begin(RUN, {}, lease=60, documents=[name]),
        ):
            with pytest.raises(ValueError, match="not the name of a document"):
                call()
    assert node.commands == []


def test_the_words_are_those_that_the_program_and_the_gate_know(tmp_path: Path) -> None:
    """All three are kept by hand: the client's verbs, the program's, and those that the gate lets through."""
    sent: list[list[str]] = []

    class Taken(Exception):
        pass

    class Runner:
        where = "nowhere"

        def run(self, argv: list[str], stdin: bytes, tried: str) -> None:
            sent.append(argv)
            raise Taken

    client = ProgramState("home", Runner())  # type: ignore[arg-type]
    for call in (
        lambda: client.get("applied"),
        lambda: client.put("applied", b"x"),
        lambda: client.begin(RUN, {}, lease=60, instead="b" * 12, documents=["applied", "other-1"]),
        lambda: client.renew(RUN),
        lambda: client.note(RUN, {}, 1),
        lambda: client.end(RUN, {}, {"applied": b""}),
        client.holder,
        client.break_lock,
        lambda: client.break_lock(RUN),
        client.runs,
        lambda: client.runs(3, "ab"),
    ):
        with pytest.raises(Taken):
            call()
    settings = gate.Settings(json.dumps({"site": "home", "vmids": [], "networks": [], "features": {}}))
    for argv in sent:
        assert gate.decide(" ".join(["zentoria-state", *argv]), settings)[-len(argv) :] == argv
        code, found = program.answer(argv, lambda size: b"{}", str(tmp_path))
        assert found.get("error", {}).get("kind") != "usage", (argv, code, found)
