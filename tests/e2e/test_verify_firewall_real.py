"""The firewall of the whole stack, tried from inside its containers on real packets."""

import json
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

CYCLE = 15.0
"""Seconds in which what is written is in force."""


def verify(stack: Stack, *arguments: str) -> dict[str, Any]:
    run = stack.zentoria("verify", "firewall", "--json", *arguments, timeout=120)
    assert run.code in (0, 1), run.said()
    told: dict[str, Any] = json.loads(run.out)
    assert told["as_declared"] == (run.code == 0)
    return told


def found_within(stack: Stack, seconds: float, wanted: set[tuple[str, ...]], *arguments: str) -> set[tuple[str, ...]]:
    """Mismatches as (verdict, kind, source, target), as soon as they are what is wanted."""
    until = time.monotonic() + seconds
    while True:
        told = verify(stack, *arguments)
        found = {(one["verdict"], one["kind"], one["source"], one["target"]) for one in told["mismatches"]}
        if wanted <= found or time.monotonic() > until:
            return found


def listeners(stack: Stack, *names: str) -> list[str]:
    """Containers in which listeners are."""
    command = ("--", "grep", "-c", "zentoria-probe", "/proc/net/unix")
    return [name for name in names if stack.zentoria("exec", name, *command).out.strip() != "0"]


@pytest.fixture
def spoiled(stack: Stack) -> Iterator[Any]:
    """Changes a container's firewall file as an administrator at the node would; put back at the end."""
    folder = stack.folder / "pve" / "firewall"
    before = {file: file.read_text() for file in folder.glob("*.fw")}

    def spoil(vmid: int, pattern: str, put: str) -> None:
        text, count = re.subn(pattern, put, (folder / f"{vmid}.fw").read_text(), flags=re.MULTILINE)
        assert count, f"{pattern} is not in {vmid}.fw"
        (folder / f"{vmid}.fw").write_text(text)

    yield spoil
    for file, text in before.items():
        file.write_text(text)


def test_every_declared_flow_is_open_and_everything_else_is_blocked(stack: Stack) -> None:
    told = verify(stack)
    assert told["mismatches"] == []
    assert told["absent"] == {}
    assert told["counts"]["declared"]["as declared"] >= 104
    assert told["counts"]["undeclared"]["as declared"] == told["counts"]["undeclared"]["tried"] > 5000
    assert told["counts"]["forged"]["as declared"] == told["counts"]["forged"]["tried"] > 50
    assert told["counts"]["node"]["as declared"] == told["counts"]["node"]["tried"] > 50
    assert told["counts"]["internet"]["as declared"] == told["counts"]["internet"]["tried"] > 30
    assert told["seconds"] < 60
    assert listeners(stack, "db", "proxy", "frontend") == []


def test_what_is_changed_on_the_node_is_found_in_reality(stack: Stack, spoiled: Any) -> None:
    spoiled(404, r"^(IN ACCEPT .*zt/row-7/backend/db/tcp)", r"|\1")  # disabled
    spoiled(405, r"^enable: 1", "enable: 0")
    spoiled(403, r"^ipfilter: 1", "ipfilter: 0")
    spoiled(403, r"^\[IPSET ipfilter-net0\][^\[]*", "")
    wanted = {
        ("declared but blocked", "declared", "backend", "db"),
        ("undeclared but open", "node", "ai", "gateway"),
        ("undeclared but open", "forged", "vault", "logs"),
    }
    found = found_within(stack, 2 * CYCLE, wanted, "db", "ai", "vault")
    assert wanted <= found
    assert {source for verdict, _, source, _ in found if verdict == "undeclared but open"} == {"ai", "vault"}
    told = verify(stack, "db", "--sample", "0")
    (blocked,) = [one for one in told["mismatches"] if one["port"] == 5432 and one["kind"] == "declared"]
    assert any(
        re.search(r"on the node: into db: denied by rule 0 of group zt-\S+_deny", line) for line in blocked["rules"]
    )


def test_a_tool_that_is_interrupted_ends_its_listeners(stack: Stack) -> None:
    run = stack.popen("verify", "firewall")
    until = time.monotonic() + 30
    while not listeners(stack, "db"):
        assert run.poll() is None
        assert time.monotonic() < until
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert listeners(stack, "db", "proxy", "frontend") == []
