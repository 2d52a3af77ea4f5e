"""A plan in words: the same stages that ``execute`` runs, printed. Nothing here can write to a node."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from zentoria_infra.guest.state import ORPHAN, in_words
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.document import Change, Disturbs, Kind, Origin
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.show.listing import NOTHING_ELSE, Basis, changes_of
from zentoria_infra.plan.stages.types import DATACENTER, AnyStage, Create, Destroy

_SIGNS = {
    Action.REFUSE: "!",
    Action.WAIT: "?",
    Action.CREATE: "+",
    Action.REPLACE: "±",
    Action.RESTART: "↻",
    Action.START: "▸",
    Action.CHANGE: "~",
    Action.CONVERGE: "~",
    Action.LOOK: "?",
    Action.NONE: "=",
}
_EFFECTS = {Disturbs.CONTAINER: "  (needs a restart)", Disturbs.REPLACEMENT: "  (forces replacement)"}
_FRESH = (Action.CREATE, Action.REPLACE)
_DRIFT = "Drift: changed outside Zentoria, and put back by this run"
_APART = frozenset({f"{DATACENTER}/firewall/switch", f"{DATACENTER}/connections"})
"""Changes with lines of their own."""

_TURNED_ON = (
    "it is turned on: nodes are closed but for their management ports and the IP set `management`, and",
    "other guests with a firewall of their own are filtered from then on",
)

_MOST_REASONS = 8


def lines(
    plan: Plan,
    stages: Sequence[AnyStage],
    basis: Basis = NOTHING_ELSE,
    *,
    everything: bool = False,
    listing: Sequence[Change] | None = None,
) -> Iterator[str]:
    """Yield the plan as lines of text; what has drifted comes in a section of its own, after what is asked for.

    Args:
        plan: what to explain.
        stages: the stages made from it.
        basis: where the inventory says things, and what was last applied.
        everything: also name containers without a change.
        listing: the changes of the plan, where they are known already.
    """
    changes = changes_of(plan, stages, basis) if listing is None else listing
    text = _Text(plan, stages, everything=everything)
    drifted = [one for one in changes if one.origin is Origin.DRIFT]
    only_drifted = {one.vmid for one in drifted} - {one.vmid for one in changes if one.origin is not Origin.DRIFT}
    others = {one.vmid for one in plan if everything or one.action is not Action.NONE} - only_drifted
    yield from text.blocks([one for one in changes if one.origin is not Origin.DRIFT], others)
    if drifted:
        yield f"{_DRIFT}:"
        yield from text.blocks(drifted)
    yield from (f"- {flow.says}: lost, and its open connections are cut" for flow in plan.cut)
    yield from (f"+ {flow.says}: gained" for flow in plan.gained)
    yield from (f"? not Zentoria's, left as it is: {line}" for line in plan.foreign_rules)
    pruned = {stage.vmid for stage in stages if isinstance(stage, Destroy) and stage.orphan is not None}
    yield from (f"{'-' if one.vmid in pruned else '?'} {told_orphan(one, pruned)}" for one in plan.orphans)
    yield from (f"! {problem}" for problem in plan.problems)
    yield from (f"? unknown: {one.what} ({one.why})" for one in basis.unknown)
    if basis.unread and changes:
        yield f"? drift cannot be told from intent, for what was last applied is unknown: {basis.unread}"
    if plan.no_inside:
        yield f"Not run inside the containers: {plan.no_inside}."
    templates = {stage.desired.ostemplate for stage in stages if isinstance(stage, Create) and stage.desired.prepared}
    yield from (f"Prepared template: {one}" for one in sorted(templates))
    gone = sum(isinstance(one, Destroy) and one.orphan is not None for one in stages)
    yield summary(plan, len(drifted), gone)


def told_orphan(orphan: Orphan, pruned: Collection[int] = ()) -> str:
    """An orphan in one line, with what can be done about it, or will be."""
    if orphan.vmid in pruned:
        return f"{orphan.says}: destroyed, with {', '.join(orphan.volumes) or 'what is on it'}"
    if orphan.parked_for:
        return f"{orphan.says}: neither is in the inventory; put {orphan.parked_for}'s file back, and `zentoria up`"
    return f"{orphan.says}: not in the inventory; `zentoria down {orphan.vmid}` destroys it"


def summary(plan: Plan, drifted: int = 0, pruned: int = 0) -> str:
    """The totals in one line; ``drifted`` counts changes that somebody made outside, ``pruned`` orphans that go."""
    orphans = [f"{pruned} orphan{'s' if pruned != 1 else ''} destroyed"] if pruned else []
    if plan.empty and not plan.problems and not orphans:
        count = len(plan.containers)
        return f"No changes: {count} container{'s are' if count != 1 else ' is'} as the inventory says."
    parts = [*orphans, *(f"{number} {action}" for action, number in plan.counts().items())]
    gained = len(plan.datacenter.gained) + sum(len(c.firewall.gained) for c in plan)
    lost = len(plan.datacenter.lost) + sum(len(c.firewall.lost) for c in plan)
    if gained or lost:
        parts.append(f"firewall +{gained} -{lost}")
    if drifted:
        parts.append(f"{drifted} drifted")
    return f"Plan: {', '.join(parts)}."


class _Text:
    """Blocks of lines, one a container; the steps of each are told once."""

    def __init__(self, plan: Plan, stages: Iterable[AnyStage], *, everything: bool) -> None:
        self._plan = plan
        self._everything = everything
        self._steps: dict[int, list[str]] = {}
        for stage in stages:
            self._steps.setdefault(stage.vmid, []).append(stage.says())

    def blocks(self, changes: Iterable[Change], others: Collection[int] = ()) -> Iterator[str]:
        """Yield the blocks of the containers of some changes, and of ``others``."""
        by_vmid: dict[int, list[Change]] = {}
        for change in changes:
            by_vmid.setdefault(change.vmid, []).append(change)
        if 0 in by_vmid:
            yield from self._datacenter(by_vmid[0])
        for container in self._plan:
            if container.vmid in by_vmid or container.vmid in others:
                yield from self._container(container, by_vmid.get(container.vmid, []))

    def _datacenter(self, changes: Sequence[Change]) -> Iterator[str]:
        steps = self._steps.pop(0, [])
        shown = [one.reason for one in changes if one.id not in _APART]
        switched = any(one.id in _APART and one.action is Kind.START for one in changes)
        if not shown and not switched:
            return
        yield "~ datacenter: firewall"
        if switched:
            yield from (f"    {line}" for line in _TURNED_ON)
        yield from (f"    {reason}" for reason in self._shortened(shown))
        if steps:
            yield f"    steps: {' → '.join(steps)}"

    def _container(self, container: ContainerPlan, changes: Sequence[Change]) -> Iterator[str]:
        yield f"{_SIGNS[container.action]} {container.vmid} {container.hostname}: {container.action}" + (
            f" ({container.reason})" if container.reason else ""
        )
        names = [(change.id.split("/")[1], change) for change in changes]
        yield from (f"    {line}" for name, change in names if name == "config" for line in _attribute(change))
        if container.action in _FRESH:
            reasons = list(container.firewall.reasons) if self._everything else []
        else:
            reasons = [change.reason for name, change in names if name == "firewall"]
        yield from (f"    firewall: {reason}" for reason in self._shortened(reasons))
        yield from (f"    {line}" for name, change in names if name == "inside" for line in _inside(change))
        if container.guest is None and container.guest_unknown and container.action not in _FRESH:
            yield f"    inside: unknown, {container.guest_unknown}"
        steps = self._steps.pop(container.vmid, [])
        if steps:
            yield f"    steps: {' → '.join(steps)}"

    def _shortened(self, reasons: Sequence[str]) -> Sequence[str]:
        if self._everything or len(reasons) <= _MOST_REASONS:
            return reasons
        more = len(reasons) - _MOST_REASONS + 1
        return [*reasons[: _MOST_REASONS - 1], f"and {more} more (`zentoria plan --all`)"]


def _attribute(change: Change) -> Iterator[str]:
    where = f"  [{change.where}]" if change.where else ""
    effect = _EFFECTS.get(change.disturbs, "")
    yield f"{change.what}: {change.before or '(none)'} → {change.after or '(none)'}{effect}{where}"
    if change.hides:
        yield f"  ! data out of sight, needs `--allow data`: {change.hides}"


def _inside(change: Change) -> Iterator[str]:
    if change.action is Kind.LOOK or change.id.count("/") == 1:
        return
    name = in_words(change.id.split("/", 2)[2])
    words = [f"inside: {name}: {change.reason}"]
    if change.before.startswith("hmac ") or change.after.startswith("hmac "):
        words.append(f"({change.before or 'nothing'} → {change.after.removeprefix('hmac ')})")
    if change.units and not name.startswith(("unit:", in_words(ORPHAN))):
        verb = "reloads" if change.disturbs is Disturbs.RELOAD else "restarts"
        words.append(f"({verb} {', '.join(change.units)})")
    yield " ".join(words)
    yield from (f"    {line}" for line in change.diff.splitlines())
