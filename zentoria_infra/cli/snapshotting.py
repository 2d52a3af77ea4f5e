"""What the commands that change the stack have to do with snapshots: which are taken, and what they were good for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Status
from zentoria_infra.execute.ways_back import ways_back
from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.stages.types import AnyStage, GoBack, Snapshot
from zentoria_infra.plan.stages.way_back import command, way_back
from zentoria_infra.plan.stages.with_snapshots import Ways, with_snapshots
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.site.processes import who


@dataclasses.dataclass(frozen=True)
class Protected:
    """A plan with its ways back.

    Attributes:
        plan: with what stands in the way of snapshots.
        stages: with snapshots.
        ways: what the containers can go back to.
        name: of the snapshots; empty where none are taken.
    """

    plan: Plan
    stages: tuple[AnyStage, ...]
    ways: Ways
    name: str

    def says(self) -> Iterator[str]:
        """What each container can go back to."""
        return way_back(self.ways, self.name)


def protected(
    deployment: Deployment, proxmox: Proxmox, plan: Plan, stages: tuple[AnyStage, ...], *, take: bool, by: str
) -> Protected:
    """Add the snapshots to a plan. One call a container that is changed in place.

    Args:
        deployment: that the plan was made by.
        proxmox: the node.
        plan: the plan.
        stages: of the plan.
        take: whether snapshots are wanted.
        by: the command that takes them, as ``redeploy``.
    """
    ways = ways_back(deployment, proxmox.observe, stages)
    if not take or not ways.snapshotted:
        return Protected(plan, stages, ways, "")
    name = snapshots.name_at(datetime.now(UTC))
    why = f"Taken by `zentoria {by}` before it changed this container. Asked for by {who()}."
    ours = {one.vmid: one.site_id for one in deployment.desired}
    texts = {vmid: snapshots.description(why, ours[vmid], vmid) for vmid in ways.snapshotted}
    found = with_snapshots(stages, ways, name, texts)
    known = {stage.id for stage in stages}
    lacks = deployment.lacks([stage for stage in found if stage.id not in known])
    problems = (*plan.problems, *(f"{one}, or --no-snapshot does without" for one in lacks))
    return Protected(dataclasses.replace(plan, problems=problems), found, ways, name)


def went_back(result: engine.Result) -> tuple[GoBack, ...]:
    """The stages that have put containers back."""
    return tuple(one.stage for one in result.ended if isinstance(one.stage, GoBack) and one.status is Status.DONE)


def after(result: engine.Result) -> Iterator[str]:
    """Say of each container that was not done what has become of its snapshot."""
    back = {stage.vmid for stage in went_back(result)}
    for stage in went_back(result):
        if stage.after_failure:
            yield (
                f"{stage.container} is back on snapshot {stage.name}: what this run changed in it is undone, "
                "but for its firewall."
            )
    undone = {one.stage.vmid for one in result.ended if one.status in (Status.FAILED, Status.STOPPED)} - back
    for one in result.ended:
        if isinstance(one.stage, Snapshot) and one.status is Status.DONE and one.stage.vmid in undone:
            told = command(one.stage.container, one.stage.name)
            yield f"{one.stage.container} was not put back; its snapshot is kept: `{told}` goes back to it, and asks."


def told(stages: Sequence[GoBack]) -> list[dict[str, object]]:
    """The same as data."""
    return [{"vmid": one.vmid, "container": one.container, "snapshot": one.name} for one in stages]
