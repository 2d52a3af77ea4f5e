"""A plan without a node: from the inventory alone, or against a state file. No network, no secrets, no files made.

Equal inventories and state files give equal plans, on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zentoria_infra.errors import RefusedError
from zentoria_infra.firewall.config import Configuration, Datacenter
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.firewall import DesiredFirewall, add_firewall
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.model.document import Unknown
from zentoria_infra.plan.model.observed import GuestCheck, World
from zentoria_infra.plan.model.places import places_of
from zentoria_infra.plan.orphans import with_orphans
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.show.listing import Basis
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.plan.stages.types import DATACENTER, AnyStage

if TYPE_CHECKING:  # without a state, there is no need for the models of its file
    from zentoria_infra.plan.saved.state_file import ObservedState

_ALONE = "planned from the inventory alone, as if nothing existed; `--state FILE` plans against what was observed"
_NOT_ASKED = "nobody asked the node"


def plan_offline(
    inventory: Inventory, state: ObservedState | None = None, name: str = ""
) -> tuple[Plan, tuple[AnyStage, ...], Basis]:
    """Plan without a node.

    Args:
        inventory: what shall be.
        state: what was observed; None plans as if nothing existed.
        name: how the state file is called, for errors.

    Returns:
        The plan, its stages, and what a listing needs besides: with what cannot be known.

    Raises:
        RefusedError: the firewall does not hold, or the state is of another site.
        InvalidFileError: the state has values that no node would show.
    """
    firewall = dataclasses.replace(proven_firewall(inventory), executable=False)
    places = places_of(inventory, firewall.compiled)
    basis = Basis(places, inventory.site.proxmox.pool, unread="it is kept with the site")
    if state is None:
        plan, stages = _planned(inventory, firewall, World({}, firewall=_nothing(inventory)))
        return plan, stages, dataclasses.replace(basis, unknown=tuple(_unknown(inventory)))
    return *_against(inventory, firewall, state, name), basis


def _against(
    inventory: Inventory, firewall: DesiredFirewall, state: ObservedState, name: str
) -> tuple[Plan, tuple[AnyStage, ...]]:
    from zentoria_infra.plan.saved.state_file import InvalidFileError

    if state.site != inventory.site.id:
        raise RefusedError(
            "plan against the state file",
            on=name,
            got=f"it is of the site '{state.site}', and the inventory is that of '{inventory.site.id}'",
            todo="name the right one with --site, or observe this one: zentoria observe --out FILE",
        )
    try:
        return _planned(inventory, firewall, _as_it_holds(inventory, state))
    except (ValueError, KeyError) as error:
        # Texts of Proxmox have a notation each, which is read where they are compared.
        raise InvalidFileError(
            "plan against the state file",
            on=name,
            got=f"it has a value that no node shows: {error}",
            todo="make it anew: zentoria observe --out FILE",
        ) from None


def _planned(inventory: Inventory, firewall: DesiredFirewall, world: World) -> tuple[Plan, tuple[AnyStage, ...]]:
    desired = desired_containers(inventory)
    known = {one.vmid for one in desired}
    # What was an orphan when it was observed may be in the inventory by now.
    found = {vmid: one for vmid, one in world.others.items() if vmid in known}
    world = dataclasses.replace(world, containers={**found, **world.containers})
    plan = add_firewall(make_plan(desired, world), world, firewall)
    plan = with_orphans(plan, desired, world, known)
    return plan, build_stages(plan, desired)


def _nothing(inventory: Inventory) -> Configuration:
    """An empty firewall. Where its switch is not ours to turn, it counts as turned on: only the node can tell."""
    ours = inventory.site.firewall.objects == "datacenter"
    return Configuration(Datacenter(options={} if ours else {"enable": "1"}))


def _unknown(inventory: Inventory) -> Iterator[Unknown]:
    node = inventory.site.proxmox.node
    for what, why in (
        ("what exists", _ALONE),
        (f"template, storages, bridges and pool of node {node}", _NOT_ASKED),
        ("whether the datacenter's firewall is on", _NOT_ASKED),
        ("whether the token has the rights", _NOT_ASKED),
    ):
        yield Unknown(vmid=0, container=DATACENTER, what=what, why=why)


def _as_it_holds(inventory: Inventory, state: ObservedState) -> World:
    """The observed world without reports that are about something else than what the inventory wants inside now."""
    from zentoria_infra.execute.recipe import recipes  # the roles and what builds releases: only a state needs them

    reported = [vmid for vmid, check in state.world.guests.items() if check.report is not None]
    now = recipes(inventory, reported)
    changed = GuestCheck(
        unknown="what is wanted inside has changed since it was observed; only a look inside tells what that changes"
    )
    guests = {
        vmid: changed if check.report is not None and now.get(vmid) != state.recipes.get(vmid) else check
        for vmid, check in state.world.guests.items()
    }
    return dataclasses.replace(state.world, guests=guests)
