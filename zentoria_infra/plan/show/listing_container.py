"""The changes of one container as records of their own. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zentoria_infra.guest.state import ORPHAN, ResourceReport
from zentoria_infra.plan.model.change import Action, AttributeChange, ContainerPlan, Effect, Via
from zentoria_infra.plan.model.document import Change, Disturbs, Kind, Origin
from zentoria_infra.plan.privileges import Need, change_needs, firewall_needs, stage_needs
from zentoria_infra.plan.show.listing_basis import Basis, common_origin, listed_firewall, listed_privileges
from zentoria_infra.plan.show.listing_firewall import count_objects
from zentoria_infra.plan.stages.types import AnyStage, Converge, Create, GoBack, Restart, Snapshot, Start

_DISTURBS = {Effect.NONE: Disturbs.NONE, Effect.RESTART: Disturbs.CONTAINER, Effect.REPLACE: Disturbs.REPLACEMENT}
_VERBS = {"stop": Kind.STOP, "start": Kind.START, "restart": Kind.RESTART, "reload": Kind.RELOAD}
_STATED = frozenset({"packages", "file", "directory", "link", "absent", "user", "volume", "release", "unit"})
"""What the ids of resources begin with that have a state of their own; the others are steps and checks."""
_FOLLOWING = frozenset({Kind.RUN, Kind.RESTART, Kind.RELOAD})
"""What is done because something else changed."""


class ContainerListing:
    """The changes of one container."""

    def __init__(self, plan: ContainerPlan, stages: Sequence[AnyStage], basis: Basis) -> None:
        self._plan = plan
        self._stages = stages
        self._basis = basis

    def listed(self) -> list[Change]:
        """All changes; putting away what an earlier run has left goes by the plan's reason."""
        found = list(self._changes())
        found += self._snapshot(found)
        if not found and self._plan.changes:
            found.append(self._change("container", Kind.RUN, "container", self._plan.reason, needs=self._needs()))
        return found

    def _snapshot(self, others: Sequence[Change]) -> Iterator[Change]:
        """A snapshot is taken for the sake of the other changes, and has their origin."""
        for stage in self._stages:
            if isinstance(stage, Snapshot) and others:
                origin = next((one.origin for one in others if one.origin is not Origin.DRIFT), others[0].origin)
                why = "taken before anything is changed inside, to go back to"
                needs = self._needs(Snapshot, GoBack)
                yield self._change("snapshot", Kind.RUN, "snapshot", why, needs=needs, origin=origin, after=stage.name)

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
                yield from listed_firewall(plan.vmid, plan.name, plan.firewall, self._basis)
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
            privileges=listed_privileges(needs),
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
        first = next((one for one in plan.attributes if one.effect is Effect.REPLACE and one.where), None)
        return self._change(
            "container",
            Kind.REPLACE,
            "container",
            plan.reason,
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
        return common_origin(origins, blames) if blames else Origin.INTENT

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
            hides=one.hides,
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
                origin=common_origin(self._basis.origins, names),
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
        if one.id.startswith(ORPHAN):
            return self._orphan(one, needs)
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

    def _orphan(self, one: ResourceReport, needs: Iterable[Need]) -> Change:
        """Something that we made, and that nothing asks for any more."""
        name = one.id.removeprefix(ORPHAN)
        unit = name.startswith("unit:")
        return self._change(
            f"inside/{one.id}",
            Kind.DELETE,
            name.replace(":", " ", 1),
            one.detail,
            needs=needs,
            disturbs=Disturbs.SERVICE if unit else Disturbs.NONE,
            units=(name.removeprefix("unit:"),) if unit else (),
            origin=Origin.INTENT,  # it was asked for when it was made
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
