"""What ``status`` says of services: of those that are declared, which are there and run."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zentoria_infra.errors import GuestError
from zentoria_infra.execute.look import status
from zentoria_infra.inventory.load import load
from zentoria_infra.proxmox.shell.pct import ExecResult
from zentoria_infra.roles.catalog import unbuilt

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = load(ROOT, site="lab")
LATER = "not installed, for Zentoria does not make them yet: "


class Node:
    """Answers as systemd in a container does: ``units`` are LoadState and ActiveState; others are not there."""

    has_ssh = True

    def __init__(self, units: dict[str, tuple[str, str]], system: str = "running") -> None:
        self.pct = types.SimpleNamespace(exec=self._exec)
        self._units = units
        self._system = system

    def _exec(self, vmid: int, argv: Sequence[str], **more: Any) -> ExecResult:
        asked = argv[2].rpartition("ActiveState ")[2].split()
        states = (self._units.get(unit, ("not-found", "inactive")) for unit in asked)
        blocks = "\n\n".join(f"LoadState={load}\nActiveState={active}" for load, active in states)
        return ExecResult(0, f"{self._system}\n{blocks}\n".encode(), b"")


def told(name: str, units: dict[str, tuple[str, str]], system: str = "running") -> tuple[str, bool]:
    return status._services(INVENTORY.by_name(name), Node(units, system))  # type: ignore[arg-type] # stands in for the connection


def running(name: str) -> dict[str, tuple[str, str]]:
    return {str(one.unit): ("loaded", "active") for one in INVENTORY.by_name(name).services if one.unit}


def test_all_that_is_declared_is_there() -> None:
    names = ", ".join(one.name for one in INVENTORY.by_name("redis").services if one.unit)
    assert told("redis", running("redis")) == (names, True)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (("not-found", "inactive"), "redis not installed"),
        (("masked", "inactive"), "redis masked"),
        (("loaded", "inactive"), "redis inactive"),
        (("loaded", "failed"), "redis failed"),
        (("bad-setting", "inactive"), "redis broken"),
    ],
)
def test_what_is_declared_and_not_there_is_not_good(state: tuple[str, str], words: str) -> None:
    unit = str(INVENTORY.by_name("redis").service("redis").unit)
    said, good = told("redis", running("redis") | {unit: state})
    assert words in said.split(", ")
    assert not good


def test_nothing_of_it_is_there() -> None:
    said, good = told("redis", {})
    assert not good
    for service in INVENTORY.by_name("redis").services:
        assert service.name in said


def test_what_nobody_makes_yet_is_named() -> None:
    name = next(
        one.name
        for one in INVENTORY.containers
        if len(unbuilt(one)) > 1 and all(service.installed for service in one.services)
    )
    made = {unit: ("loaded", "active") for unit in ("prometheus-node-exporter.service",)}
    said, good = told(name, made)
    assert good
    assert said == "node-exporter, " + LATER + ", ".join(
        sorted(unbuilt(INVENTORY.by_name(name)), key=[one.name for one in INVENTORY.by_name(name).services].index)
    )


def test_what_the_inventory_leaves_out_is_named() -> None:
    redis = INVENTORY.by_name("redis")
    services = tuple(
        one.model_copy(update={"installed": False}) if one.component == "redis-exporter" else one
        for one in redis.services
    )
    made = {unit: ("loaded", "active") for unit in ("redis-server.service", "prometheus-node-exporter.service")}
    container = redis.model_copy(update={"services": services})
    said, good = status._services(container, Node(made))  # type: ignore[arg-type] # stands in for the connection
    assert good and said.endswith("not installed, for the inventory leaves them out: exporter"), said


def test_a_container_that_gives_no_answer_is_unknown() -> None:
    def silent(*args: object, **more: object) -> ExecResult:
        raise GuestError("ask systemd in redis", on="root@pve", got="the node has not begun it after 180 s\n    more")

    node = Node({})
    node.pct.exec = silent
    said = status._services(INVENTORY.by_name("redis"), node)  # type: ignore[arg-type] # stands in for the connection
    assert said == ("unknown: the node has not begun it after 180 s", False)
