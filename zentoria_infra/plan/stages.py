"""From a plan to the steps that carry it out: one list, which ``execute`` runs and ``explain`` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from zentoria_infra.plan.change import Action, AttributeChange, ContainerPlan, Plan, Via
from zentoria_infra.plan.desired import DesiredContainer
from zentoria_infra.plan.values import format_tags


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step on one container. It begins when all stages named in ``after`` have ended well.

    Args:
        id: unique in a list of stages, as ``404:create``.
        after: ids of stages that must have ended well before.
    """

    vmid: int
    container: str
    id: str
    after: tuple[str, ...]

    verb = "work on"

    def says(self) -> str:
        """The step in a few words, for plans and progress."""
        return self.verb


@dataclasses.dataclass(frozen=True)
class Destroy(Stage):
    """Stop and destroy a container that must be replaced."""

    verb = "destroy"


@dataclasses.dataclass(frozen=True)
class Create(Stage):
    """Make a container from the template, marked as ours from its first moment, without tags."""

    desired: DesiredContainer

    verb = "create"


@dataclasses.dataclass(frozen=True)
class Configure(Stage):
    """Set options in one call."""

    changes: tuple[AttributeChange, ...]

    verb = "configure"

    def says(self) -> str:
        """The step with the keys that it sets."""
        return f"set {', '.join(change.key for change in self.changes)}"


@dataclasses.dataclass(frozen=True)
class Resize(Stage):
    """Grow one volume."""

    change: AttributeChange

    verb = "resize"

    def says(self) -> str:
        """The step with the volume and its sizes."""
        return f"grow {self.change.key} from {self.change.before} to {self.change.after}"


@dataclasses.dataclass(frozen=True)
class PctSet(Stage):
    """Set what only root@pam may set, with ``pct set`` over SSH."""

    changes: tuple[AttributeChange, ...]

    verb = "pct set"

    def says(self) -> str:
        """The step with the keys that it sets."""
        return f"pct set {', '.join(change.key for change in self.changes)}"


@dataclasses.dataclass(frozen=True)
class Start(Stage):
    """Start a container."""

    verb = "start"


@dataclasses.dataclass(frozen=True)
class Restart(Stage):
    """Restart a container, so that pending changes take effect."""

    verb = "restart"


@dataclasses.dataclass(frozen=True)
class Converge(Stage):
    """Bring the inside of a container to its state, in one round trip."""

    verb = "converge"


AnyStage = Destroy | Create | Configure | Resize | PctSet | Start | Restart | Converge


def build_stages(plan: Plan, desired: Iterable[DesiredContainer]) -> tuple[AnyStage, ...]:
    """Turn a plan into stages.

    A container's stages follow each other. Converging waits for the containers whose services it needs, where
    these converge in the same run and come earlier in the start order (needs may run in circles between
    containers, since a container holds several services).
    """
    by_vmid = {one.vmid: one for one in desired}
    converging = {c.vmid for c in plan if c.converge}
    return tuple(
        stage
        for container in plan
        if container.changes
        for stage in _container_stages(container, by_vmid[container.vmid], by_vmid, converging)
    )


def _container_stages(
    plan: ContainerPlan,
    desired: DesiredContainer,
    everyone: Mapping[int, DesiredContainer],
    converging: set[int],
) -> list[AnyStage]:
    stages: list[AnyStage] = []

    def head(name: str, *more: str) -> tuple[int, str, str, tuple[str, ...]]:
        before = (stages[-1].id,) if stages else ()
        return plan.vmid, plan.name, f"{plan.vmid}:{name}", (*before, *more)

    attributes = plan.attributes
    if plan.action is Action.REPLACE:
        stages.append(Destroy(*head("destroy")))
    if plan.action in (Action.CREATE, Action.REPLACE):
        stages.append(Create(*head("create"), desired))
        attributes = after_create(desired)
    configure = tuple(a for a in attributes if a.via is Via.CONFIG)
    if configure:
        stages.append(Configure(*head("configure"), configure))
    for change in attributes:
        if change.via is Via.RESIZE:
            stages.append(Resize(*head(f"resize-{change.key}"), change))  # noqa: PERF401 -- head() reads the list
    by_pct = tuple(a for a in attributes if a.via is Via.PCT)
    if by_pct:
        stages.append(PctSet(*head("pct-set"), by_pct))
    if plan.start:
        stages.append(Start(*head("start")))
    elif plan.restart:
        stages.append(Restart(*head("restart")))
    if plan.converge:
        needed = (
            f"{vmid}:converge" for vmid in sorted(desired.needs & converging) if everyone[vmid].order < desired.order
        )
        stages.append(Converge(*head("converge", *needed)))
    return stages


def after_create(desired: DesiredContainer) -> tuple[AttributeChange, ...]:
    """What a create call with pool rights cannot set (rights.md): tags, features beyond nesting, protection.

    ``protection`` waits until the end, so that a half-made container can still be removed by its maker.
    """
    where = desired.said_at("")
    changes = [AttributeChange("tags", "", format_tags(desired.tags), where=where)]
    if desired.protect:
        changes.append(AttributeChange("protection", "0", "1", where=where))
    if desired.features - {"nesting"}:
        text = ",".join(f"{name}=1" for name in sorted(desired.features))
        changes.append(AttributeChange("features", "nesting=1", text, via=Via.PCT, where=where))
    return tuple(changes)
