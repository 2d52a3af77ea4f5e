"""Every change of a plan as a record of its own: containers, firewall and the inside of guests together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from zentoria_infra.plan.model.change import Action, Plan
from zentoria_infra.plan.model.document import Change, Disturbs, Kind, Origin, Totals, Unknown
from zentoria_infra.plan.privileges import stage_needs
from zentoria_infra.plan.show.listing_basis import (
    NOTHING_ELSE,
    Basis,
    common_origin,
    listed_firewall,
    listed_privileges,
)
from zentoria_infra.plan.show.listing_container import ContainerListing
from zentoria_infra.plan.show.listing_firewall import object_changes
from zentoria_infra.plan.stages.types import DATACENTER, AnyStage, SwitchOn

__all__ = ["NOTHING_ELSE", "Basis", "changes_of", "totals", "unknown_of"]

_FRESH = (Action.CREATE, Action.REPLACE)


def changes_of(plan: Plan, stages: Sequence[AnyStage], basis: Basis = NOTHING_ELSE) -> tuple[Change, ...]:
    """Every change of a plan, in the order of VMIDs, what containers share first.

    Args:
        plan: what will be done.
        stages: the stages made from it; they say which privileges a create or a start needs.
        basis: what else there is to know.

    Returns:
        Changes with ids that are unique, and the same in every plan for the same thing.
    """
    by_vmid: dict[int, list[AnyStage]] = {}
    for stage in stages:
        by_vmid.setdefault(stage.vmid, []).append(stage)
    found = [*_shared(plan, by_vmid.get(0, []), basis)]
    for container in plan:
        found += ContainerListing(container, by_vmid.get(container.vmid, []), basis).listed()
    return tuple(_unique(found))


def unknown_of(plan: Plan, basis: Basis = NOTHING_ELSE) -> tuple[Unknown, ...]:
    """What could not be looked at, and why."""
    found: list[Unknown] = []
    if basis.unread:
        found.append(Unknown(vmid=0, container=DATACENTER, what="what was last applied", why=basis.unread))
    if plan.no_inside:
        found.append(Unknown(vmid=0, container=DATACENTER, what="inside of the containers", why=plan.no_inside))
    found += (
        Unknown(vmid=one.vmid, container=one.name, what="inside", why=one.guest_unknown)
        for one in plan
        if one.guest is None and one.guest_unknown and not plan.no_inside and one.action not in _FRESH
    )
    return (*basis.unknown, *found)


def totals(changes: Iterable[Change]) -> Totals:
    """How many changes there are of each kind; what is refused or waited for is none."""
    real = [one for one in changes if one.action not in (Kind.REFUSE, Kind.WAIT)]
    counts = {one.value: sum(change.disturbs is one for change in real) for one in Disturbs}
    origins = {one.value: sum(change.origin is one for change in real) for one in Origin}
    return Totals(changes=len(real), containers=len({one.vmid for one in real if one.vmid}), **origins, **counts)


def _unique(changes: Iterable[Change]) -> Iterator[Change]:
    """Number what would have the id of another: two objects of the same name in one firewall."""
    seen: dict[str, int] = {}
    for change in changes:
        number = seen[change.id] = seen.get(change.id, 0) + 1
        yield change if number == 1 else change.model_copy(update={"id": f"{change.id}#{number}"})


def _shared(plan: Plan, stages: Sequence[AnyStage], basis: Basis) -> Iterator[Change]:
    if plan.switch_on:
        needs = (need for one in stages if isinstance(one, SwitchOn) for need in stage_needs(one, basis.pool))
        yield Change(
            id=f"{DATACENTER}/firewall/switch",
            vmid=0,
            container=DATACENTER,
            action=Kind.START,
            what="the datacenter's firewall",
            reason="it is off: nothing is filtered",
            where=basis.said_at(0, "firewall/switch"),
            privileges=listed_privileges(needs),
            before="off",
            after="on",
            origin=basis.origins.of(0, "firewall/switch"),
        )
    yield from listed_firewall(0, DATACENTER, plan.datacenter, basis)
    if plan.cut:
        lost = [(0, one.name) for one in object_changes(plan.datacenter.lost)]
        lost += [(one.vmid, change.name) for one in plan for change in object_changes(one.firewall.lost)]
        yield Change(
            id=f"{DATACENTER}/connections",
            vmid=0,
            container=DATACENTER,
            action=Kind.RUN,
            what="open connections",
            reason="flows are lost; their open connections are cut",
            diff="\n".join(f"- {flow.says}" for flow in plan.cut),
            origin=common_origin(basis.origins, lost),
        )
