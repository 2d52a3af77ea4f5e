"""What a run may do unasked: how much of the stack it disturbs at once, and what it never does."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator

from zentoria_infra.errors import RefusedError
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.stages.types import AnyStage, Destroy

RESTARTS = 30
"""Percent of the containers that one run may restart without being asked to allow it, unless a site says else."""


class Allow(enum.StrEnum):
    """What a user can allow a run beyond its limits."""

    RESTARTS = "restarts"
    """Restart more containers at once than the limit."""
    REPLACE = "replace"
    """Destroy containers and make them again."""
    DATA = "data"
    """Take data out of sight: volumes that are taken away, mounted elsewhere or hidden."""
    SNAPSHOTS = "snapshots"
    """Destroy snapshots that somebody has taken, with their container."""


def require_possible(
    plan: Plan, allow: Collection[Allow] = (), *, restarts: int = RESTARTS, of: int | None = None
) -> None:
    """Refuse a plan that must not be carried out.

    Args:
        plan: what would be done.
        allow: what the user has allowed beyond the limits.
        restarts: the limit of restarted containers, in percent. A single one is always within it.
        of: how many containers there are; default: those of the plan that exist.

    Raises:
        RefusedError: something stands in the way; nothing was changed. All reasons of the first kind are in it.
    """
    for reasons, todo in (
        _foreign(plan),
        _held(plan),
        _unfinished(plan),
        _over(plan, allow, restarts, of),
        _problems(plan),
    ):
        if reasons:
            lines = "\n".join(["", *(f"  - {reason}" for reason in reasons)])
            raise RefusedError("carry out the plan", got=lines, todo=todo)


def restarted(plan: Plan) -> tuple[ContainerPlan, ...]:
    """Containers that run and will be restarted."""
    return tuple(one for one in plan if one.restart)


def replaced(plan: Plan) -> tuple[ContainerPlan, ...]:
    """Containers that will be destroyed and made again."""
    return tuple(one for one in plan if one.action is Action.REPLACE)


def lost(plan: Plan) -> Iterator[str]:
    """What a run destroys or interrupts, in words, for the question whether to go on."""
    for one in replaced(plan):
        kept = f", the data on {', '.join(one.parking.back)} is kept" if one.parking and one.parking.back else ""
        yield f"{one.name} ({one.vmid}) is destroyed and made again; its root file system will be lost{kept}"
    yield from (f"{one.name} ({one.vmid}), data out of sight: {text}" for one in plan for text in one.hides)
    if names := [one.name for one in restarted(plan)]:
        yield f"{', '.join(names)} will be restarted"
    if plan.cut:
        yield f"open connections of {len(plan.cut)} lost flow{'' if len(plan.cut) == 1 else 's'} are cut"


def destroyed(stages: Iterable[AnyStage]) -> Iterator[str]:
    """What stages destroy for good, container by container, in words, for the question whether to go on."""
    for one in stages:
        if isinstance(one, Destroy):
            orphan = ", which the inventory does not have," if one.orphan is not None else ""
            snapshots = f"; and the snapshots {', '.join(one.snapshots)}" if one.snapshots else ""
            data = ", ".join(one.loses) or "what is on it"
            yield f"{one.container} ({one.vmid}){orphan} with its data: {data}{snapshots}"
        if isinstance(one, Destroy) and one.leaves:
            yield f"    left, for {one.vmid} does not speak of it: {', '.join(one.leaves)}"


def require_snapshots_allowed(stages: Iterable[AnyStage], allow: Collection[Allow]) -> None:
    """Refuse to destroy snapshots of others with their container, unless somebody said so.

    Raises:
        RefusedError: some would be; nothing was changed.
    """
    held = [one for one in stages if isinstance(one, Destroy) and one.snapshots]
    if held and Allow.SNAPSHOTS not in allow:
        lines = (f"  - {one.container} ({one.vmid}): {', '.join(one.snapshots)}" for one in held)
        raise RefusedError(
            "destroy containers",
            got="\n".join(["snapshots that are not Zentoria's would go with them:", *lines]),
            todo="remove them first, or allow it with --allow snapshots; nothing was changed",
        )


_Found = tuple[list[str], str]


def _foreign(plan: Plan) -> _Found:
    reasons = [f"container {c.vmid} ({c.name}) is not Zentoria's: {c.reason}" for c in plan.refused]
    return reasons, "move what is there to another VMID, or change the VMID in the inventory; Zentoria never touches it"


def _held(plan: Plan) -> _Found:
    reasons = [
        f"container {c.vmid} ({c.name}) would have to be replaced and is protected: {c.reason}"
        for c in replaced(plan)
        if c.protected
    ]
    return reasons, (
        "undo that change in the inventory; or first take the protection off (`protect: false`, `zentoria up`)"
    )


def _unfinished(plan: Plan) -> _Found:
    reasons = [f"container {c.vmid} ({c.name}): {c.reason}" for c in plan.unfinished]
    return reasons, "wait until its create task on the node has ended, then run again"


def _over(plan: Plan, allow: Collection[Allow], restarts: int, of: int | None) -> _Found:
    """What goes beyond the limits."""
    reasons: list[str] = []
    options: list[Allow] = []
    if Allow.REPLACE not in allow and (found := replaced(plan)):
        options.append(Allow.REPLACE)
        reasons += (f"container {c.vmid} ({c.name}) would be destroyed and made again: {c.reason}" for c in found)
    if Allow.DATA not in allow and (hides := [(c, text) for c in plan for text in c.hides]):
        options.append(Allow.DATA)
        reasons += (f"container {c.vmid} ({c.name}), data out of sight: {text}" for c, text in hides)
    there = of or sum(c.action not in (Action.CREATE, Action.REFUSE, Action.WAIT) for c in plan)
    disturbed = {c.vmid: c for c in (*restarted(plan), *replaced(plan))}
    if Allow.RESTARTS not in allow and len(disturbed) > 1 and len(disturbed) * 100 > there * restarts:
        options.append(Allow.RESTARTS)
        names = ", ".join(c.name for c in disturbed.values())
        reasons.append(
            f"{len(disturbed)} of {there} containers would be restarted at once ({names}); the limit is {restarts} %"
        )
    words = " ".join(f"--allow {one}" for one in options)
    return reasons, (
        f"undo that change in the inventory, take a part of it at a time (`--only`), or allow it with {words}"
    )


def _problems(plan: Plan) -> _Found:
    return list(plan.problems), "put that right on the node or in the site's file, then run again; nothing was changed"
