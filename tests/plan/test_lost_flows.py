"""Which connections a change of the firewall ends."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import Parties, parties_of
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.network import assumed
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.lost_flows import lost_flows
from zentoria_infra.plan.model.change import LostFlow
from zentoria_infra.plan.proof import proven_firewall

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def shipped() -> Inventory:
    return load(ROOT, site="lab")


def compiled(inventory: Inventory) -> Configuration:
    return assumed(compile_firewall(inventory))


def parties() -> Parties:
    return parties_of(shipped())


def without(row: int) -> Configuration:
    return compiled(shipped().model_copy(update={"flows": tuple(f for f in shipped().flows if f.row != row)}))


def test_nothing_is_lost_without_a_change() -> None:
    assert lost_flows(compiled(shipped()), compiled(shipped()), parties()) == ()


def test_a_flow_that_goes_is_lost_with_its_ends_and_ports() -> None:
    assert lost_flows(compiled(shipped()), without(7), parties()) == (
        LostFlow("10.10.40.1", "10.10.40.4", "tcp", (5432, 5432), 401, "backend → db tcp/5432"),
        LostFlow("10.10.40.1", "10.10.40.4", "tcp", (6432, 6432), 401, "backend → db tcp/6432"),
    )
    assert lost_flows(without(7), compiled(shipped()), parties()) == ()


def test_a_flow_from_anywhere_is_lost_by_its_destination() -> None:
    lost = lost_flows(compiled(shipped()), without(1), parties())
    assert {(one.source, one.destination, one.ports) for one in lost} == {
        ("", "10.10.40.8", (80, 80)), ("", "10.10.40.8", (443, 443)),
    }  # fmt: skip


def test_a_guest_that_was_open_loses_everything_that_is_not_allowed() -> None:
    before = compiled(shipped())
    guests = tuple(
        dataclasses.replace(one, options={**one.options, "enable": "0"}) if one.vmid == 404 else one
        for one in before.guests
    )
    lost = lost_flows(dataclasses.replace(before, guests=guests), before, parties())
    assert {(one.source, one.destination, one.protocol) for one in lost} == {
        ("10.10.40.4", "", ""), ("", "10.10.40.4", ""),
    }  # fmt: skip


def test_containers_that_are_not_there_lose_nothing() -> None:
    nobody = dataclasses.replace(compiled(shipped()), guests=())
    assert lost_flows(nobody, compiled(shipped()), parties()) == ()


def test_openings_are_the_package_sources_of_each_container() -> None:
    openings = proven_firewall(shipped()).openings
    assert {one.source_vmid for one in openings} == {one.vmid for one in shipped().containers}
    assert {(one.destination, one.ports) for one in openings} == {("10.10.47.254", (3128, 3128))}
