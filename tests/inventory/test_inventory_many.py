"""Inventories of many containers: as the bench makes them, and what is remembered of one is not said of another."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from tests.bench.stacks import STACK, write_project
from zentoria_infra.execute.offline import plan_offline
from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.inventory.flows import expand_flows, expand_needs
from zentoria_infra.inventory.load import load
from zentoria_infra.roles.checks import check_roles


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("many"), 3 * STACK)


def test_stacks_of_the_bench_are_valid_and_grow_as_it_says(root: Path) -> None:
    one, three = load(Path(__file__).resolve().parents[2], "lab"), load(root, "lab", more=check_roles)
    assert len(three.containers) == 3 * STACK
    between = [flow for flow in one.flows if {flow.source, flow.destination}.isdisjoint({"all", "internet"})]
    assert len(three.flows) == len(one.flows) + 2 * len(between)
    assert {need.container for service in three.by_name("backend-3").services for need in service.needs} == {
        *(f"{name}-3" for name in ("db", "redis", "vault", "auth", "ai", "files", "embeddings", "voice", "ocr", "n8n")),
        "logs",
    }
    plan, _, _ = plan_offline(three)
    assert len(plan.containers) == 3 * STACK and not plan.problems


def test_a_size_that_is_no_whole_number_of_stacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        write_project(tmp_path, 18)


def test_a_copy_with_other_containers_knows_those(root: Path) -> None:
    whole = load(root, "lab")
    assert whole.by_name("db-2").vmid == 100_204 and expand_flows(whole) and expand_needs(whole)
    moved = whole.by_name("db").model_copy(update={"address": ipaddress.IPv4Address("10.10.33.99"), "name": "other"})
    some = whole.model_copy(update={"containers": (moved,)})
    with pytest.raises(KeyError):
        some.by_name("db-2")
    assert some.by_name("other") is moved and some.by_vmid(404) is moved
    assert len(expand_flows(some)) < len(expand_flows(whole))
    assert {need.source for need in expand_needs(some)} <= {"other"}
    assert whole.by_name("db-2").vmid == 100_204
    fewer = whole.model_copy(update={"flows": whole.flows[:1]})
    assert {flow.number for flow in expand_flows(fewer)} == {0}


def test_a_firewall_knows_its_guests_after_some_were_replaced() -> None:
    one, other = Guest(404, "db", "pve", ()), Guest(404, "db", "pve2", ())
    before = Configuration(guests=(one,))
    assert before.guest(404) is one
    assert dataclasses.replace(before, guests=(other,)).guest(404) is other
    with pytest.raises(KeyError):
        before.guest(405)
