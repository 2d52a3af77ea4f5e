"""A node that is slow to begin a command, or turns us away for a while: told apart from one that is dead."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import paramiko
import pytest
import tenacity

from tests.proxmox.proxmox_scripted_server import Seen, data, failure
from tests.proxmox.proxmox_ssh_server import FakeNode
from tests.support.patience import patience
from zentoria_infra.errors import GuestError, UnreachableError
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.connection import ApiToken, Endpoint
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.shell import ssh, starting, stream
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.proxmox.shell.ssh import SshTarget

HOST = paramiko.ECDSAKey.generate()
USER = paramiko.ECDSAKey.generate()


@pytest.fixture
def node() -> Iterator[FakeNode]:
    made = FakeNode(HOST)
    made.authorized.append(USER)
    yield made
    made.stop()


@pytest.fixture
def target(node: FakeNode, tmp_path: Any) -> SshTarget:
    file = tmp_path / "key"
    USER.write_private_key_file(str(file))
    return SshTarget("127.0.0.1", f"{HOST.get_name()} {HOST.get_base64()}", node.port, key_file=file)


@pytest.fixture
def make(target: SshTarget) -> Iterator[Callable[..., Pct]]:
    made: list[Pct] = []

    def one(**options: Any) -> Pct:
        made.append(Pct(target, Gates(), timeout=30, **options))
        return made[-1]

    yield one
    for pct in made:
        pct.close()


def test_a_time_limit_counts_from_when_the_command_begins(node: FakeNode, make: Callable[..., Pct]) -> None:
    node.slow = 1.0
    result = make().exec(404, ["sh", "-c", "echo out; echo problem >&2; exit 3"], timeout=0.5, tried="ask it")
    assert (result.exit, result.stdout, result.stderr) == (3, b"out\n", b"problem\n"), "and its own word is not shown"


def test_a_node_that_does_not_begin_is_slow_and_not_dead(
    node: FakeNode, make: Callable[..., Pct], monkeypatch: pytest.MonkeyPatch
) -> None:
    node.slow = 3.0
    monkeypatch.setitem(stream.PctSession.__init__.__kwdefaults__, "patience", 0.5)
    with pytest.raises(GuestError) as caught:
        make().exec(404, ["true"], timeout=20, tried="ask systemd in db")
    assert str(caught.value).startswith("ask systemd in db on root@127.0.0.1:")
    assert "the node has not begun it after 0 s" in caught.value.got
    assert "slow" in caught.value.todo and "load" in caught.value.todo


def test_a_command_that_is_given_up_on_is_ended_and_holds_no_session(node: FakeNode, make: Callable[..., Pct]) -> None:
    begun = time.monotonic()
    with pytest.raises(GuestError, match=r"^look for it on .*: it began, and gave no answer within 0 s\n +halfway"):
        make().exec(404, ["sh", "-c", "echo halfway; exec sleep 60"], timeout=0.3, tried="look for it")
    assert time.monotonic() - begun < patience(5)
    deadline = time.monotonic() + patience(5)
    while node.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert node.running == 0


@pytest.mark.parametrize("code", [124, 137])
def test_a_command_that_ends_by_itself_as_one_that_was_too_slow_is_none(make: Callable[..., Pct], code: int) -> None:
    """What the kernel kills for want of memory was not too slow."""
    result = make().exec(404, ["sh", "-c", f"echo said; exit {code}"], timeout=600, tried="install it")
    assert (result.exit, result.stdout) == (code, b"said\n")


def test_an_error_says_what_it_was_for_and_not_the_script(make: Callable[..., Pct]) -> None:
    script = "export LC_ALL=C\nwhile true; do\n  sleep 1\ndone"
    with pytest.raises(GuestError) as named:
        make().exec(404, ["sh", "-c", script], timeout=0.2, tried="see whether 404 can reach x:80")
    assert named.value.tried == "see whether 404 can reach x:80"
    with pytest.raises(GuestError) as unnamed:
        make().exec(404, ["sh", "-c", script], timeout=0.2)
    assert unnamed.value.tried == "run sh -c 'export LC_ALL=C ...' in container 404"
    assert "while" not in str(unnamed.value) + str(named.value)


def test_words_of_the_node_before_the_command_begins_are_kept(make: Callable[..., Pct]) -> None:
    line = [
        "sh",
        "-c",
        'echo "perl: warning" >&2; exec "$@"',
        "sh",
        *starting.announced(["sh", "-c", "echo no >&2"], 5),
    ]
    with make()._start(["pct", "exec", "404", "--", *line], "x", 5, announces=True) as session:
        assert session.close() == 0
        assert session.stderr == b"perl: warning\nno\n"


def test_only_as_many_commands_begin_at_once_as_the_node_can(node: FakeNode, make: Callable[..., Pct]) -> None:
    node.slow = 0.15
    pct = make(starts=lambda: 2)
    gate = threading.Barrier(6)

    def one(number: int) -> bytes:
        gate.wait(10)
        return pct.exec(404, ["sh", "-c", "sleep 0.4; echo done"], timeout=5, tried=f"ask {number}").stdout

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == [b"done\n"] * 6
    assert node.most_starting <= 2
    assert node.most > 2, "those that have begun are not in the way of others"


@pytest.mark.parametrize(
    ("cpus", "load", "at_once"),
    [
        (1, 0.0, 2),
        (2, 0.1, 2),
        (2, 40.0, 2),
        (4, 0.2, 3),
        (4, 9.0, 2),
        (16, 0.0, 8),
        (16, 14.0, 8),
        (16, 99.0, 8),
        (6, 1.0, 5),
    ],
)
def test_how_many_begin_follows_processors_and_load(cpus: int, load: float, at_once: int) -> None:
    assert starting.width(cpus, load) == at_once


def test_the_node_is_asked_once_and_need_not_answer(scripted: Any, pki: Any, target: SshTarget) -> None:
    for answer, expected in (
        (data({"cpuinfo": {"cpus": 6}, "loadavg": ["1.00", "0.5", "0.1"]}), 5),
        (failure(403, "Permission check failed (/nodes/pve1, Sys.Audit)"), starting.UNKNOWN),
    ):

        def answers(seen: Seen, answer: Any = answer) -> Any:
            return answer

        server = scripted(answers)
        endpoint = Endpoint("127.0.0.1", "pve1", server.port, ca_file=pki.ca_file, read_timeout=10)
        with Proxmox(endpoint, ApiToken("zentoria@pve", "up", Secret("x")), target) as client:
            assert client._starts() == expected
            client.pct.exec(404, ["true"], tried="ask")
            client.pct.exec(404, ["true"], tried="ask")
            assert client.api_calls.total == 2, "this test's own, and one for all commands"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short: what is tried again is tried again at once."""
    made = tenacity.Retrying
    monkeypatch.setattr(
        ssh.tenacity, "Retrying", lambda **options: made(**{**options, "wait": tenacity.wait_fixed(0.01)})
    )


def test_a_node_that_turns_us_away_for_a_while_is_waited_for(
    node: FakeNode, make: Callable[..., Pct], quick: None
) -> None:
    node.turn_away = 3
    assert make().exec(404, ["true"]).exit == 0
    assert node.connections == 4


def test_a_node_that_goes_on_turning_us_away_is_told_with_the_likely_reason(
    node: FakeNode, make: Callable[..., Pct], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "PENALTY", 0.3)
    node.turn_away = 10_000
    pct = make()
    with pytest.raises(UnreachableError) as caught:
        pct.exec(404, ["true"])
    assert "does not greet" in caught.value.got
    assert "PerSourcePenalties" in caught.value.todo
    before = node.connections
    with pytest.raises(UnreachableError, match="does not greet"):
        pct.exec(405, ["true"])
    assert node.connections == before, "one has waited for all"


def test_a_port_where_nobody_listens_is_told_at_once(make: Callable[..., Pct], node: FakeNode) -> None:
    node.stop()
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="Unable to connect"):
        make().exec(404, ["true"])
    assert time.monotonic() - begun < patience(3)


def test_places_are_given_back_once() -> None:
    numbers = itertools.count()
    starts = starting.Starts(lambda: next(numbers) + 1)
    first = starts.take()
    first()
    first()
    second = starts.take()
    second()
    assert next(numbers) == 1, "asked once"
