"""The shipped firewall applied to a fake Proxmox that is not ours, with its own checks of every parameter."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.proxmox.proxmox_pki import FAST
from zentoria_infra.execute.look.firewall_observe import observe_firewall
from zentoria_infra.execute.run.perform_firewall import FirewallPerformer
from zentoria_infra.firewall.change.changes import datacenter_changes, guest_changes, removal
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Configuration, Datacenter
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.values import format_properties
from zentoria_infra.proxmox import Endpoint, Proxmox
from zentoria_infra.proxmox.connection import ApiToken

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["datacenter", "guest"])
def inventory(request: pytest.FixtureRequest) -> Inventory:
    return load(ROOT, site="lab", overrides={"firewall": {"objects": request.param}})


@pytest.fixture
def proxmox(fakepve: Any, endpoint: Endpoint, token: ApiToken, inventory: Inventory) -> Any:
    for one in inventory.containers:
        fakepve.add_ct(one.vmid, one.hostname)
    made = Proxmox(dataclasses.replace(endpoint, node="pve1"), token, retry=FAST)
    yield made
    made.close()


def everything(proxmox: Proxmox, inventory: Inventory, wanted: Configuration) -> Configuration:
    nets = {one.vmid: {k: format_properties(n) for k, n in one.nets.items()} for one in desired_containers(inventory)}
    return observe_firewall(proxmox.firewall, wanted, nets)


def test_what_is_applied_is_there_and_proven(proxmox: Proxmox, inventory: Inventory) -> None:
    compiled = compile_firewall(inventory)
    wanted = dataclasses.replace(
        compiled.configuration,
        guests=tuple(dataclasses.replace(one, node="pve1") for one in compiled.configuration.guests),
    )
    performer = FirewallPerformer(proxmox, dict.fromkeys((one.vmid for one in wanted.guests), "pve1"))
    performer.carry_out(datacenter_changes(Datacenter(), wanted.datacenter).gained, lambda text: None)
    before = everything(proxmox, inventory, wanted)
    for there, one in zip(before.guests, wanted.guests, strict=True):
        performer.carry_out(guest_changes(there, one).gained, lambda text: None)
    after = everything(proxmox, inventory, wanted)
    assert datacenter_changes(after.datacenter, wanted.datacenter).empty
    for there, one in zip(after.guests, wanted.guests, strict=True):
        assert guest_changes(there, one).empty, guest_changes(there, one).reasons
    on = dataclasses.replace(after, datacenter=dataclasses.replace(after.datacenter, options={"enable": "1"}))
    assert prove(compiled, parties_of(inventory), on).differences == ()
    performer.carry_out(removal(after, wanted.datacenter).lost, lambda text: None)
    left = everything(proxmox, inventory, wanted).datacenter
    assert (left.aliases, left.ipsets, left.groups) == ((), (), ())
