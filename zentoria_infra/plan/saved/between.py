"""The states that a plan goes through: none may allow more than what is there and what shall be, together.

Almost always the order of the steps sees to that. Where it does not, as when a stale rule names an alias that gets
another address, the container is closed first, put right, and opened again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from zentoria_infra.firewall.change.changes import Changes
from zentoria_infra.firewall.change.steps import (
    DATACENTER,
    DropEntry,
    DropRule,
    InsertRule,
    SetOptions,
    Step,
    Where,
    says,
)
from zentoria_infra.firewall.change.transition import check_steps, turning_points
from zentoria_infra.firewall.compiled.parties import Parties
from zentoria_infra.firewall.config import Configuration, Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan

CLOSED = "zt/closed"
"""How the identities of the rules begin that close a container while it is put right."""

_MOST = 5
_NOT_OURS = (Action.REFUSE, Action.WAIT)


@dataclasses.dataclass(frozen=True, slots=True)
class Unsafe:
    """A step after which more is allowed than before all steps and after all of them together.

    Args:
        vmid: whose firewall lets it through.
        text: step and excess in words.
    """

    vmid: int
    text: str


def made_safe(plan: Plan, there: Configuration, parties: Parties, others: Collection[Guest] = ()) -> Plan:
    """The plan, with containers closed meanwhile where its steps would open too much; what is left is a problem.

    Args:
        plan: with the firewall's part.
        there: as it is.
        parties: who there is.
        others: as they shall be, containers that are there and that the plan leaves alone: what a change of shared
            objects makes of their rules counts.
    """
    known = {guest.vmid for guest in there.guests}
    while found := unsafe_steps(plan, there, parties, others):
        able = {one.vmid for one in plan if one.vmid in known and one.action not in _NOT_OURS and not one.closed}
        bad = {one.vmid for one in found} & able
        if not bad:
            more = [f"and {len(found) - _MOST} more of that kind"] if len(found) > _MOST else []
            if {one.vmid for one in found} - {one.vmid for one in plan}:
                more.append("`zentoria up` looks at all containers, and closes those meanwhile that it must")
            return dataclasses.replace(plan, problems=(*plan.problems, *(one.text for one in found[:_MOST]), *more))
        containers = tuple(_closed(one, there) if one.vmid in bad else one for one in plan)
        plan = dataclasses.replace(plan, containers=containers, datacenter=_at_once(plan.datacenter))
    return plan


def unsafe_steps(
    plan: Plan, there: Configuration, parties: Parties, others: Collection[Guest] = ()
) -> tuple[Unsafe, ...]:
    """The steps of a plan after which too much is allowed; pure.

    Package sources are open on purpose, and are not looked at. Containers gain side by side; that allows no more than
    one after the other, since a flow needs both of its ends.
    """
    steps = list(_in_order(plan, {guest.vmid for guest in there.guests}))
    if not steps or not there.guests:  # without a container there is nobody to whom something could be opened
        return ()
    numbers, passed = zip(*turning_points(there, steps), strict=True)
    state = passed[-1]
    replaced = {one.vmid for one in plan if one.action is Action.REPLACE}
    shall = {one.vmid: one for one in others}
    guests = tuple(shall.get(one.vmid, one) for one in state.guests if one.vmid not in replaced)
    after = dataclasses.replace(state, guests=guests)
    stopped = [one.vmid for one in plan if one.start and one.action is not Action.REPLACE]
    return tuple(
        Unsafe(one.vmid, f"`{says(step)}` ({step.where}) would open too much: {one.explanation}")
        for one in check_steps(there, passed, after, parties, stopped)
        for step in [steps[numbers[one.step]]]
    )


def _in_order(plan: Plan, known: set[int]) -> Iterator[Step]:
    """Yield the steps as the stages carry them out.

    Those of containers that do not exist yet are left out: they have all of their rules before they start.
    """
    staying = [one.firewall for one in plan if one.vmid in known and one.action is not Action.REPLACE]
    for one in plan:
        yield from one.closed
    yield from plan.datacenter.gained
    if plan.switch_on:
        yield SetOptions(DATACENTER, {"enable": "1"})
    for changes in staying:
        yield from changes.gained
    for changes in staying:
        yield from changes.lost
    yield from plan.datacenter.lost


def _closed(plan: ContainerPlan, there: Configuration) -> ContainerPlan:
    """Closed before anything else, and opened when all of it is right; what is lost does not wait for the others."""
    where = Where(vmid=plan.vmid)
    taken = {identity(rule.comment) for rule in there.guest(plan.vmid).rules}  # a killed run may have left some
    key = next(key for number in range(len(taken) + 1) if (key := f"{CLOSED}-{number}") not in taken)
    rules = [Rule(way, "DROP", comment=f"{key} Until its rules are right") for way in ("out", "in")]
    closed = tuple(InsertRule(where, rule) for rule in rules)
    if plan.action is Action.REPLACE:  # destroyed with its rules
        return dataclasses.replace(plan, closed=closed)
    old = plan.firewall
    opened = (DropRule(where, rule) for rule in rules)
    why = "it is closed meanwhile: one by one, the steps would open more than before and after"
    changes = dataclasses.replace(old, gained=(*old.gained, *old.lost, *opened), lost=(), reasons=(*old.reasons, why))
    if plan.action is Action.NONE:  # what its rules take in from the datacenter changes
        return dataclasses.replace(plan, closed=closed, firewall=changes, action=Action.CHANGE, reason=why)
    return dataclasses.replace(plan, closed=closed, firewall=changes)


def _at_once(old: Changes) -> Changes:
    """What shared objects lose in rules and members is lost before containers are opened again."""
    early = tuple(step for step in old.lost if isinstance(step, DropRule | DropEntry))
    late = tuple(step for step in old.lost if step not in early)
    return dataclasses.replace(old, gained=(*old.gained, *early), lost=late)
