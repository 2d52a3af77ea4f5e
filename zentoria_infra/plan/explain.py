"""A plan in words: the same stages that ``execute`` runs, printed. Nothing here can write to a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zentoria_infra.plan.change import Action, AttributeChange, ContainerPlan, Effect, Plan
from zentoria_infra.plan.document import document as whole
from zentoria_infra.plan.stages import AnyStage

_SIGNS = {
    Action.REFUSE: "!",
    Action.WAIT: "?",
    Action.CREATE: "+",
    Action.REPLACE: "±",
    Action.RESTART: "↻",
    Action.START: "▸",
    Action.CHANGE: "~",
    Action.CONVERGE: "~",
    Action.NONE: "=",
}
_EFFECTS = {Effect.NONE: "", Effect.RESTART: "  (needs a restart)", Effect.REPLACE: "  (forces replacement)"}

_MOST_REASONS = 8


def lines(plan: Plan, stages: Sequence[AnyStage], *, everything: bool = False) -> Iterator[str]:
    """Yield the plan as lines of text.

    Args:
        plan: what to explain.
        stages: the stages made from it.
        everything: also name containers without a change.
    """
    steps = _by_vmid(stages)
    yield from _datacenter(plan, steps.get(0, []), everything=everything)
    for container in plan:
        if container.action is Action.NONE and not everything:
            continue
        yield f"{_SIGNS[container.action]} {container.vmid} {container.hostname}: {container.action}" + (
            f" ({container.reason})" if container.reason else ""
        )
        yield from (f"    {_attribute(change)}" for change in container.attributes)
        yield from (f"    firewall: {reason}" for reason in _reasons(container, everything=everything))
        yield from (f"    {line}" for line in _inside(container))
        if container.volumes and container.action is Action.REPLACE:
            yield f"    destroys the data on {', '.join(container.volumes)}"
        if container.vmid in steps:
            yield f"    steps: {' → '.join(stage.says() for stage in steps[container.vmid])}"
    yield from (f"- {flow.says}: lost, and its open connections are cut" for flow in plan.cut)
    yield from (f"? not Zentoria's, left as it is: {text}" for text in plan.foreign_rules)
    yield from (f"! {problem}" for problem in plan.problems)
    if plan.no_inside:
        yield f"Not run inside the containers: {plan.no_inside}."
    yield summary(plan)


def summary(plan: Plan) -> str:
    """The totals in one line."""
    if plan.empty and not plan.problems:
        count = len(plan.containers)
        return f"No changes: {count} container{'s are' if count != 1 else ' is'} as the inventory says."
    parts = [f"{number} {action}" for action, number in plan.counts().items()]
    gained = len(plan.datacenter.gained) + sum(len(c.firewall.gained) for c in plan)
    lost = len(plan.datacenter.lost) + sum(len(c.firewall.lost) for c in plan)
    if gained or lost:
        parts.append(f"firewall +{gained} -{lost}")
    return f"Plan: {', '.join(parts)}."


def document(plan: Plan, stages: Sequence[AnyStage]) -> dict[str, Any]:
    """The plan as plain data for ``--json``."""
    return whole(plan, stages).model_dump(mode="json")


def _datacenter(plan: Plan, stages: Sequence[AnyStage], *, everything: bool) -> Iterator[str]:
    if plan.datacenter.empty and not plan.switch_on:
        return
    yield "~ datacenter: firewall"
    if plan.switch_on:
        yield "    it is turned on: nodes are closed but for their management ports and the IP set `management`, and"
        yield "    other guests with a firewall of their own are filtered from then on"
    shown = _shortened(plan.datacenter.reasons, everything=everything)
    yield from (f"    {reason}" for reason in shown)
    yield f"    steps: {' → '.join(stage.says() for stage in stages)}"


def _reasons(container: ContainerPlan, *, everything: bool) -> Sequence[str]:
    """Why its firewall changes; of a new container everything does, and the steps say how many calls that is."""
    if container.action in (Action.CREATE, Action.REPLACE) and not everything:
        return ()
    return _shortened(container.firewall.reasons, everything=everything)


def _shortened(reasons: Sequence[str], *, everything: bool) -> Sequence[str]:
    if everything or len(reasons) <= _MOST_REASONS:
        return reasons
    return [*reasons[: _MOST_REASONS - 1], f"and {len(reasons) - _MOST_REASONS + 1} more (`zentoria plan --all`)"]


def _by_vmid(stages: Iterable[AnyStage]) -> dict[int, list[AnyStage]]:
    found: dict[int, list[AnyStage]] = {}
    for stage in stages:
        found.setdefault(stage.vmid, []).append(stage)
    return found


def _attribute(change: AttributeChange) -> str:
    where = f"  [{change.where}]" if change.where else ""
    return f"{change.key}: {change.before or '(none)'} → {change.after or '(none)'}{_EFFECTS[change.effect]}{where}"


def _inside(container: ContainerPlan) -> Iterator[str]:
    if container.guest is None:
        if container.guest_unknown and container.action not in (Action.CREATE, Action.REPLACE):
            yield f"inside: unknown, {container.guest_unknown}"
        return
    for change in container.guest.changes:
        yield f"inside: {change.id}" + (f": {change.detail}" if change.detail else "")
        yield from (f"    {line}" for line in change.diff.splitlines())
