"""Orphans: containers with our site's mark that the inventory does not have (any more). Pure.

They are named in every plan and touched by none, unless somebody asks for it (``down VMID``, ``up --prune``). Their
addresses are in use all the same, as are those of other guests of the pool: two guests with one address take turns at
being reached.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence

from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import ObservedContainer, World
from zentoria_infra.plan.model.orphan import Orphan, addresses


@dataclasses.dataclass(frozen=True)
class Clash:
    """A container that would get an address that another guest has."""

    vmid: int
    other: int
    says: str


def orphans_of(world: World, known: Collection[int], site_id: str) -> tuple[Orphan, ...]:
    """Containers of a site that are not among ``known``, in the order of VMIDs.

    A parking container is one when that for which it is has left the inventory too: nobody would bring the data back.

    Args:
        world: what is there.
        known: the VMIDs of the whole inventory.
        site_id: of the site: the containers of another one are not ours.
    """
    there = {**world.containers, **world.others}
    return tuple(
        _orphan(one, site_id)
        for vmid, one in sorted(there.items())
        if vmid not in known and one.kind == "lxc" and (_is_ours(one, site_id) or _parked_for(one, site_id, known))
    )


def with_orphans(
    plan: Plan, desired: Sequence[DesiredContainer], world: World, known: Collection[int], *, prune: bool = False
) -> Plan:
    """The plan with the orphans that there are, and as problems the addresses that are in use.

    Args:
        plan: what will be done.
        desired: the containers that it is for.
        world: what it was made from.
        known: the VMIDs of the whole inventory.
        prune: the orphans are removed in the same run, before anything gets an address of theirs.
    """
    if not desired:
        return plan
    found = orphans_of(world, known, desired[0].site_id)
    gone = {one.vmid for one in found} if prune else set()
    problems = [one.says for one in clashes(plan, desired, world, found) if one.other not in gone]
    if prune:
        problems += [text for one in found if (text := held_back(one, world))]
    return dataclasses.replace(plan, orphans=found, problems=(*plan.problems, *problems))


def clashes(
    plan: Plan, desired: Sequence[DesiredContainer], world: World, found: Sequence[Orphan]
) -> tuple[Clash, ...]:
    """Addresses that containers of the plan would get, and that another guest has."""
    by_vmid = {one.vmid: one for one in desired}
    orphaned = {one.vmid for one in found}
    return tuple(
        clash
        for one in plan
        for clash in _clashes(one, by_vmid[one.vmid], {**world.others, **world.containers}, orphaned, by_vmid)
    )


def held_back(orphan: Orphan, world: World) -> str:
    """What keeps an orphan from being destroyed, in words; empty for nothing."""
    if orphan.parked_for:
        return (
            f"{orphan.title} holds the data of container {orphan.parked_for}, which a run that did not end was "
            f"replacing: put the file of {orphan.parked_for} back into the inventory, and `zentoria up` completes that "
            f"run; if nobody needs the data, remove it on the node (`pct destroy {orphan.vmid}`)"
        )
    if orphan.protected:
        return (
            f"{orphan.title} is protected: take the protection off on the node first "
            f"(`pct set {orphan.vmid} --protection 0`)"
        )
    for one in (*world.others.values(), *world.parked.values()):
        if parking.is_for(one.config.get("description", ""), orphan.site_id, orphan.vmid):
            return (
                f"{orphan.title}: a run that did not end was replacing it, and container {one.vmid} holds its data: "
                "put its file back into the inventory, and `zentoria up` completes that run first"
            )
    return ""


def _clashes(
    plan: ContainerPlan,
    desired: DesiredContainer,
    there: Mapping[int, ObservedContainer],
    orphaned: Collection[int],
    run: Collection[int],
) -> Iterator[Clash]:
    changed = {one.key for one in plan.attributes}
    for key, net in desired.nets.items():
        address = net.get("ip", "").partition("/")[0]
        now = there.get(plan.vmid)
        new = plan.action is Action.CREATE or (key in changed and now is not None and address not in addresses(now))
        if not new or not address or not address[0].isdigit():
            continue
        for vmid, other in sorted(there.items()):
            if vmid == plan.vmid or vmid in run or address not in addresses(other):
                continue
            title = f"{vmid} ({other.config.get('hostname', '') or 'without a name'})"
            if vmid in orphaned:
                who = f"the orphan {title}"
                todo = f"`zentoria down {vmid}` removes it, `zentoria up --prune` all orphans"
            else:
                who, todo = f"container {title}", "give one of the two another address"
            yield Clash(
                plan.vmid,
                vmid,
                f"container {plan.vmid} ({plan.name}) would get the address {address}, which {who} has: {todo}",
            )


def _is_ours(one: ObservedContainer, site_id: str) -> bool:
    text = one.config.get("description", "")
    return ownership.owner(text, site_id, one.vmid) is ownership.Owner.OURS


def _parked_for(one: ObservedContainer, site_id: str, known: Collection[int]) -> int:
    vmid = parking.for_whom(one.config.get("description", ""), site_id)
    return 0 if vmid in known else vmid


def _orphan(one: ObservedContainer, site_id: str) -> Orphan:
    return Orphan(
        vmid=one.vmid,
        name=one.config.get("hostname", ""),
        node=one.node,
        site_id=site_id,
        running=one.running,
        addresses=addresses(one),
        volumes=parking.destroyed({**one.config, **one.in_force}, one.vmid),
        protected=one.config.get("protection", "0") not in ("", "0", "no", "off", "false"),
        digest=one.digest,
        parked_for=parking.for_whom(one.config.get("description", ""), site_id),
    )
