"""Every change of a plan as a record of its own: containers, firewall and the inside of guests together. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from zentoria_infra.firewall.changes import Changes
from zentoria_infra.guest.state import ResourceReport
from zentoria_infra.plan.applied import Origins
from zentoria_infra.plan.change import Action, AttributeChange, ContainerPlan, Effect, Plan, Via
from zentoria_infra.plan.document_model import Change, Disturbs, Kind, Origin, Privilege, Totals, Unknown
from zentoria_infra.plan.listing_firewall import count_objects, object_changes
from zentoria_infra.plan.privileges import Need, change_needs, firewall_needs, stage_needs
from zentoria_infra.plan.stage_types import DATACENTER, AnyStage, Converge, Create, Restart, Start, SwitchOn

_FRESH = (Action.CREATE, Action.REPLACE)
_DISTURBS = {Effect.NONE: Disturbs.NONE, Effect.RESTART: Disturbs.CONTAINER, Effect.REPLACE: Disturbs.REPLACEMENT}
_VERBS = {"stop": Kind.STOP, "start": Kind.START, "restart": Kind.RESTART, "reload": Kind.RELOAD}
_STATED = frozenset({"packages", "file", "directory", "link", "absent", "user", "volume", "release", "unit"})
"""What the ids of resources begin with that have a state of their own; the others are steps and checks."""
_FOLLOWING = frozenset({Kind.RUN, Kind.RESTART, Kind.RELOAD})
"""What is done because something else changed."""


@dataclasses.dataclass(frozen=True)
class Basis:
    """What a listing looks at besides the plan.

    Args:
        places: file:line:column by the end of a change's id, or by the identity of a firewall rule, for each VMID;
            ``""`` is the container's file. VMID 0 has what containers share.
        pool: the pool that holds the containers, for the privileges.
        origins: tells drift from intent.
    """

    places: Mapping[int, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    pool: str = ""
    origins: Origins = dataclasses.field(default_factory=Origins)
    unread: str = ""
    """Why the record of what was last applied could not be read; empty where it could, or there is none."""
    unknown: tuple[Unknown, ...] = ()
    """What else could not be looked at."""

    def said_at(self, vmid: int, *names: str) -> str:
        """Where the inventory says what a change wants: of the first name that has a place of its own."""
        known = self.places.get(vmid, {})
        shared = self.places.get(0, {})
        for name in filter(None, names):
            if place := known.get(name) or shared.get(name):
                return place
        return known.get("", "")


NOTHING_ELSE = Basis()


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
        found += _Container(container, by_vmid.get(container.vmid, []), basis).listed()
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


def _privileges(needs: Iterable[Need]) -> tuple[Privilege, ...]:
    return tuple(_privilege(one) for one in sorted(set(needs)))


@functools.lru_cache(maxsize=1024)
def _privilege(need: Need) -> Privilege:
    return Privilege(path=need.path, privilege=need.privilege)


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
            privileges=_privileges(needs),
            before="off",
            after="on",
            origin=basis.origins.of(0, "firewall/switch"),
        )
    yield from _firewall(0, DATACENTER, plan.datacenter, basis)
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
            origin=_any(basis.origins, lost),
        )


def _any(origins: Origins, names: Iterable[tuple[int, str]]) -> Origin:
    """Intent where any is; drift where all are."""
    found = {origins.of(vmid, name) for vmid, name in names}
    return next((one for one in (Origin.INTENT, Origin.UNKNOWN, Origin.DRIFT) if one in found), Origin.UNKNOWN)


def _firewall(vmid: int, name: str, changes: Changes, basis: Basis) -> Iterator[Change]:
    for one in object_changes((*changes.gained, *changes.lost)):
        yield Change(
            id=f"{vmid or DATACENTER}/{one.name}",
            vmid=vmid,
            container=name,
            action=one.action,
            what=one.what,
            reason=one.reason,
            where=basis.said_at(vmid, one.said_by, one.name),
            privileges=_privileges(firewall_needs(one.steps, basis.pool)),
            before=one.before,
            after=one.after,
            origin=basis.origins.of(vmid, one.name),
        )


class _Container:
    """The changes of one container."""

    def __init__(self, plan: ContainerPlan, stages: Sequence[AnyStage], basis: Basis) -> None:
        self._plan = plan
        self._stages = stages
        self._basis = basis

    def listed(self) -> list[Change]:
        """All changes; putting away what an earlier run has left goes by the plan's reason."""
        found = list(self._changes())
        if not found and self._plan.changes:
            found.append(self._change("container", Kind.RUN, "container", self._plan.reason, needs=self._needs()))
        return found

    def _changes(self) -> Iterator[Change]:
        plan = self._plan
        match plan.action:
            case Action.NONE:
                return
            case Action.REFUSE | Action.WAIT:
                kind = Kind.REFUSE if plan.action is Action.REFUSE else Kind.WAIT
                yield self._change("container", kind, "container", plan.reason)
            case Action.CREATE:
                yield self._change(
                    "container", Kind.CREATE, "container", plan.reason, after=plan.hostname, needs=self._needs(Create)
                )
                yield from self._fresh()
            case Action.REPLACE:
                yield self._replacement()
                yield from map(self._attribute, plan.attributes)
                yield from self._fresh()
            case _:
                yield from map(self._attribute, plan.attributes)
                yield from self._state()
                yield from self._closed()
                yield from _firewall(plan.vmid, plan.name, plan.firewall, self._basis)
                yield from self._inside()

    def _change(
        self,
        name: str,
        action: Kind,
        what: str,
        reason: str,
        *,
        needs: Iterable[Need] = (),
        origin: Origin | None = None,
        **more: Any,
    ) -> Change:
        vmid = self._plan.vmid
        values: dict[str, Any] = {"where": self._basis.said_at(vmid, name), **more}
        return Change(
            id=f"{vmid}/{name}",
            vmid=vmid,
            container=self._plan.name,
            action=action,
            what=what,
            reason=reason,
            privileges=_privileges(needs),
            origin=self._basis.origins.of(vmid, name) if origin is None else origin,
            **values,
        )

    def _needs(self, *kinds: type[AnyStage]) -> Iterator[Need]:
        """What the stages of some kinds need; without any, all of them."""
        for stage in self._stages:
            if not kinds or isinstance(stage, kinds):
                yield from stage_needs(stage, self._basis.pool)

    def _replacement(self) -> Change:
        plan = self._plan
        blames = tuple(one.key for one in plan.attributes if one.effect is Effect.REPLACE)
        lost = f"; the data on {', '.join(plan.volumes)} is lost" if plan.volumes else ""
        first = next((one for one in plan.attributes if one.effect is Effect.REPLACE and one.where), None)
        return self._change(
            "container",
            Kind.REPLACE,
            "container",
            f"{plan.reason}{lost}",
            needs=self._needs(),
            disturbs=Disturbs.REPLACEMENT,
            blames=blames,
            before=plan.hostname,
            after=plan.hostname,
            origin=self._origin(),
            **({"where": first.where} if first else {}),
        )

    def _origin(self) -> Origin:
        """Why the container is made. A replacement that nothing in its configuration asks for, somebody asked for."""
        plan, origins = self._plan, self._basis.origins
        if plan.action is not Action.REPLACE:
            return origins.of(plan.vmid, "container")
        blames = [(plan.vmid, f"config/{one.key}") for one in plan.attributes if one.effect is Effect.REPLACE]
        return _any(origins, blames) if blames else Origin.INTENT

    def _fresh(self) -> Iterator[Change]:
        """What a new container gets goes without saying: its firewall in one, its inside in one."""
        plan, origin = self._plan, self._origin()
        steps = (*plan.firewall.gained, *plan.firewall.lost)
        if steps:
            yield self._change(
                "firewall",
                Kind.CREATE,
                "firewall",
                "the container is new",
                needs=firewall_needs(steps, self._basis.pool),
                after=f"{count_objects(steps)} rules, options and IP sets",
                origin=origin,
            )
        if plan.converge:
            yield self._change(
                "inside", Kind.CREATE, "inside", "the container is new", needs=self._needs(Converge), origin=origin
            )

    def _attribute(self, one: AttributeChange) -> Change:
        plan = self._plan
        disturbs = _DISTURBS[one.effect]
        if disturbs is Disturbs.CONTAINER and not plan.restart:
            disturbs = Disturbs.NONE  # it does not run
        name = f"config/{one.key}"
        action = Kind.UPDATE if one.before and one.after else Kind.CREATE if one.after else Kind.DELETE
        several = "\n" in one.before or "\n" in one.after
        lines = difflib.unified_diff(one.before.splitlines(), one.after.splitlines(), one.key, one.key, lineterm="")
        change = self._change(
            name,
            action,
            one.key,
            f"{one.key} differs"
            if one.via is not Via.REVERT
            else f"a change of {one.key} waits for a restart: taken back",
            needs=change_needs(one, plan.vmid, self._basis.pool),
            where=one.where or self._basis.said_at(plan.vmid, name),
            disturbs=disturbs,
            before=one.before,
            after=one.after,
            diff="\n".join(lines) if several else "",
            blames=(one.key,) if one.effect is Effect.REPLACE else (),
        )
        if one.via is Via.RESIZE:
            return change.model_copy(update={"id": f"{change.id}/size", "reason": f"{one.key} is too small"})
        return change

    def _state(self) -> Iterator[Change]:
        plan = self._plan
        if plan.start:
            yield self._change(
                "status", Kind.START, "status", plan.reason, needs=self._needs(Start), before="stopped", after="running"
            )
        elif plan.restart:
            late = [one.key for one in plan.attributes if one.effect is Effect.RESTART]
            names = [(plan.vmid, f"config/{key}") for key in late] or [(plan.vmid, "status")]
            reason = plan.reason if plan.action is Action.RESTART else "what waits takes effect at a restart"
            yield self._change(
                "restart",
                Kind.RESTART,
                "container",
                reason,
                needs=self._needs(Restart),
                disturbs=Disturbs.CONTAINER,
                origin=_any(self._basis.origins, names),
            )

    def _closed(self) -> Iterator[Change]:
        plan = self._plan
        if plan.closed:
            why = "one by one, the steps would open more than before and after"
            needs = firewall_needs(plan.closed, self._basis.pool)
            yield self._change("firewall/closed", Kind.RUN, "closed meanwhile", why, needs=needs, origin=Origin.INTENT)

    def _inside(self) -> Iterator[Change]:
        plan = self._plan
        report = plan.guest
        if report is None:
            if plan.converge:
                yield self._look(plan.guest_unknown)
            return
        intent = False
        needs = tuple(self._needs(Converge))
        for one in report.changes:
            change = self._resource(one, needs)
            if change.action in _FOLLOWING and change.origin is Origin.DRIFT and intent:
                change = change.model_copy(update={"origin": Origin.INTENT})  # it follows what changes before it
            intent = intent or change.origin is Origin.INTENT
            yield change
        if report.failed:
            bad = next((one.detail for one in report.resources if one.id == report.failed), "")
            yield self._look(f"{report.failed} failed when it was looked at" + (f": {bad}" if bad else ""))

    def _look(self, why: str) -> Change:
        return self._change(
            "inside",
            Kind.LOOK,
            "inside",
            "what is inside is unknown",
            needs=self._needs(Converge),
            origin=Origin.UNKNOWN,
            unknown=why or "nobody looked",
        )

    def _resource(self, one: ResourceReport, needs: Iterable[Need]) -> Change:
        action = _action(one)
        units = (*one.restarts, *one.reloads)
        disturbs = Disturbs.SERVICE if one.restarts or action is Kind.STOP else Disturbs.NONE
        if one.reloads and disturbs is Disturbs.NONE:
            disturbs = Disturbs.RELOAD
        return self._change(
            f"inside/{one.id}",
            action,
            one.id.replace(":", " ", 1),
            one.detail or "it differs",
            needs=needs,
            disturbs=disturbs,
            units=units,
            before=one.before,
            after=one.after,
            diff=one.diff,
        )


def _action(one: ResourceReport) -> Kind:
    kind = one.id.partition(":")[0]
    if kind not in _STATED:
        return Kind.RUN
    if kind == "absent":
        return Kind.DELETE
    if kind == "unit":
        verbs = one.detail.split(" and ")
        return next((_VERBS[verb] for verb in _VERBS if verb in verbs), Kind.UPDATE)
    if kind == "packages":
        return Kind.UPDATE if one.before else Kind.CREATE
    return Kind.CREATE if one.detail.startswith("new ") else Kind.UPDATE
