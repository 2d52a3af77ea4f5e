"""Cutting open connections: against a real SSH server whose ``conntrack`` the tests answer for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proxmox.proxmox_ssh_server import FakeNode
from zentoria_infra.errors import AuthError, UnreachableError
from zentoria_infra.proxmox import Proxmox, Secret
from zentoria_infra.proxmox.connection import ApiToken, Endpoint
from zentoria_infra.proxmox.shell.conntrack import Conntrack, ConntrackError
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget

CUT = b"conntrack v1.4.7 (conntrack-tools): %d flow entries have been deleted.\n"
LISTED = b"tcp 6 431999 ESTABLISHED src=10.10.40.1 dst=10.10.40.4 sport=40000 dport=5432 src=10.10.40.4 ...\n"
RACED = b"conntrack v1.4.7 (conntrack-tools): Operation failed: such conntrack doesn't exist\n"
COMMAND = "conntrack -D -s 10.10.40.1 -d 10.10.40.4 -p tcp --dport 5432"


@pytest.fixture
def target(node: FakeNode, keys: dict[str, Path]) -> SshTarget:
    host_key = f"{node.host_key.get_name()} {node.host_key.get_base64()}"
    return SshTarget("127.0.0.1", host_key, port=node.port, key_file=keys["user"], connect_timeout=10)


@pytest.fixture
def ssh(target: SshTarget) -> Iterator[SshConnection]:
    made = SshConnection(target)
    yield made
    made.close()


@pytest.fixture
def conntrack(ssh: SshConnection) -> Conntrack:
    return Conntrack(ssh, timeout=20)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("10.10.40.1", "10.10.40.4", "tcp", 5432), COMMAND),
        (("10.10.40.1",), "conntrack -D -s 10.10.40.1"),
        (("", "10.10.40.4"), "conntrack -D -d 10.10.40.4"),
        (("", "10.10.40.4", "udp"), "conntrack -D -d 10.10.40.4 -p udp"),
        (("fd00::1", "fd00:0::2", "ipv6-icmp"), "conntrack -D -s fd00::1 -d fd00::2 -p ipv6-icmp"),
    ],
)
def test_what_is_asked(node: FakeNode, conntrack: Conntrack, arguments: Any, command: str) -> None:
    node.others[command] = (0, LISTED * 3, CUT % 3)
    assert conntrack.cut(*arguments) == 3
    assert node.commands == [command]


@pytest.mark.parametrize(("code", "count"), [(1, 0), (0, 1), (0, 4711)])
def test_count(node: FakeNode, conntrack: Conntrack, code: int, count: int) -> None:
    """conntrack's exit code is 1 when nothing fitted."""
    node.others[COMMAND] = (code, LISTED * min(count, 9), CUT % count)
    assert conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432) == count


def test_an_entry_that_ended_by_itself(node: FakeNode, conntrack: Conntrack) -> None:
    """conntrack lists and then deletes, and gives up at the first that is gone: the rest are cut by the next try."""
    answers = [(1, LISTED, RACED), (1, LISTED, RACED), (0, LISTED, CUT % 2)]
    node.others[COMMAND] = lambda: answers.pop(0)
    assert conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432) == 2
    assert len(node.commands) == 3


def test_entries_that_end_all_the_time(node: FakeNode, conntrack: Conntrack) -> None:
    node.others[COMMAND] = (1, b"", RACED)
    with pytest.raises(ConntrackError, match="such conntrack doesn't exist"):
        conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432)
    assert len(node.commands) == 4


@pytest.mark.parametrize(
    ("code", "said", "todo"),
    [
        (127, b"bash: line 1: conntrack: command not found\n", "install `conntrack`"),
        (127, b"sh: 1: conntrack: not found\n", "install `conntrack`"),
        (127, b"env: 'conntrack': No such file or directory\n", "install `conntrack`"),
        (126, b"bash: /usr/sbin/conntrack: Permission denied\n", "install `conntrack`"),
        (1, b"conntrack v1.4.7 (conntrack-tools): Operation failed: Operation not permitted\n", "conntrack -L"),
        (2, b"conntrack v1.4.7 (conntrack-tools): unknown protocol `foo'\n", "conntrack -L"),
        (0, b"", "conntrack -L"),
    ],
)
def test_failures(node: FakeNode, conntrack: Conntrack, code: int, said: bytes, todo: str) -> None:
    node.others[COMMAND] = (code, b"", said)
    with pytest.raises(ConntrackError) as caught:
        conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432)
    assert said.decode().strip() in caught.value.got
    assert todo in caught.value.todo
    assert caught.value.on == f"root@127.0.0.1:{node.port}"
    assert len(node.commands) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("", "", "tcp", 5432),
        ("10.10.40.1", "", "", 5432),
        ("10.10.40.0/20",),
        ("10.10.40.1; reboot",),
        ("10.10.40.1", "db"),
        ("10.10.40.1", "", "tcp -s 0.0.0.0/0"),
    ],
)
def test_nothing_is_cut_that_was_not_named(node: FakeNode, conntrack: Conntrack, arguments: Any) -> None:
    with pytest.raises(ValueError):
        conntrack.cut(*arguments)
    assert node.commands == []


def test_a_node_that_goes_away(node: FakeNode, conntrack: Conntrack) -> None:
    def vanish() -> Any:
        node.drop()
        return (0, b"", b"")

    node.others[COMMAND] = vanish
    with pytest.raises(UnreachableError) as caught:
        conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432)
    assert "cut connections from 10.10.40.1 to 10.10.40.4" in caught.value.tried
    node.others[COMMAND] = (0, b"", CUT % 1)
    assert conntrack.cut("10.10.40.1", "10.10.40.4", "tcp", 5432) == 1


def test_a_key_that_is_not_accepted(target: SshTarget, keys: dict[str, Path]) -> None:
    ssh = SshConnection(dataclasses.replace(target, key_file=keys["stranger"]))
    with pytest.raises(AuthError):
        Conntrack(ssh).cut("10.10.40.1")
    ssh.close()


def test_the_client_has_one_when_it_has_ssh(node: FakeNode, target: SshTarget) -> None:
    token = ApiToken("root@pam", "test", Secret("x"))
    node.others["conntrack -D -s 10.10.40.1"] = (0, b"", CUT % 5)
    with Proxmox(Endpoint("127.0.0.1", "pve1"), token, target) as proxmox:
        assert proxmox.conntrack.cut("10.10.40.1") == 5
        assert proxmox.ssh_round_trips == 1
    with Proxmox(Endpoint("127.0.0.1", "pve1"), token) as proxmox, pytest.raises(UnreachableError, match="no SSH"):
        proxmox.conntrack.cut("10.10.40.1")
