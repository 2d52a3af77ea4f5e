"""What snapshots keep from being done: a volume that one holds can neither be moved nor handed to another container."""

from __future__ import annotations

import dataclasses

from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.model.change import Action, ContainerPlan, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import World


def without_held(plan: ContainerPlan, desired: DesiredContainer, world: World) -> tuple[ContainerPlan, tuple[str, ...]]:
    """A container's plan with the removal of our own snapshots, where they stand in its way.

    Args:
        plan: of the container.
        desired: the container.
        world: what is there.

    Returns:
        The plan, and what stands in the way for good, in words: snapshots of others, or the lock of a killed task.
    """
    observed = world.containers.get(plan.vmid)
    if observed is None or not plan.changes:
        return plan, ()
    title = f"container {plan.vmid} ({plan.name})"
    if observed.lock in snapshots.LOCKS:
        return plan, (
            f"{title} is locked ({observed.lock}), and no task is at work on it: one was killed. On the node: "
            f"`pct unlock {plan.vmid}`, then `pct listsnapshot {plan.vmid}`, and `pct delsnapshot {plan.vmid} NAME "
            "--force` for one that is not whole",
        )
    replaced = plan.action is Action.REPLACE
    if not replaced and not any(one.via is Via.MOVE for one in plan.attributes):
        return plan, ()
    there = world.snapshots.get(plan.vmid)
    if there is None:  # nobody has listed them, as offline: there is only the name of the newest
        newest = observed.config.get("parent", "")
        mine, others = _sorted(newest, ours=True), _sorted(newest, ours=False)
    else:
        mine = tuple(one.name for one in snapshots.ours(there, desired.site_id, plan.vmid))
        others = tuple(one.name for one in snapshots.foreign(there, desired.site_id, plan.vmid))
    if others:
        done = "replaced" if replaced else "changed"
        return plan, (
            f"{title} cannot be {done}: its volumes are part of snapshots that are not Zentoria's "
            f"({', '.join(others)}), and cannot be moved with them; remove those first",
        )
    if mine:
        reason = f"{plan.reason}; snapshots of its volumes are removed first ({', '.join(mine)})"
        return dataclasses.replace(plan, snapshots=mine, reason=reason), ()
    return plan, ()


def _sorted(name: str, *, ours: bool) -> tuple[str, ...]:
    return (name,) if name and snapshots.is_our_name(name) is ours else ()
