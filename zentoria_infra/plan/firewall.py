"""The firewall's part of a plan: what each guest and the datacenter gain and lose, and what stands in the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

from zentoria_infra.firewall.change.changes import Changes, datacenter_changes, guest_changes, woken
from zentoria_infra.firewall.change.steps import DropRule, InsertRule, Step, UpdateRule, same_rule
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import Parties
from zentoria_infra.firewall.config import NO_OPTIONS, Configuration, Guest, Rule
from zentoria_infra.firewall.identity import OPENING
from zentoria_infra.firewall.proof.network import assumed
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.inventory.spans import Spans
from zentoria_infra.plan.lost_flows import lost_flows
from zentoria_infra.plan.model.change import Action, ContainerPlan, LostFlow, Plan
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.model.parking import Parking
from zentoria_infra.plan.others_firewall import brought_up, has_others, with_copy, written
from zentoria_infra.plan.saved.between import made_safe

_FRESH = (Action.CREATE, Action.REPLACE)
_PACKAGES = "packages"


@dataclasses.dataclass(frozen=True)
class DesiredFirewall:
    """The firewall as it shall be, proven.

    Args:
        compiled: without any package sources open.
        opened: the same with the package sources of every container open.
        parties: whom it is about.
    """

    compiled: Compiled
    opened: Compiled
    parties: Parties
    allowed: Mapping[tuple[str, str], Spans] | None = dataclasses.field(default=None, repr=False, compare=False)
    """What ``compiled`` allows, where its proof has said so already."""
    executable: bool = True
    """Whether a plan may be carried out: what goes through openings is looked for only then, to be cut after."""

    def opening(self, vmid: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps that open a container's package sources, and those that close them again.

        Where the way to them leads to another container, as to a proxy of our own, it is opened at both ends.
        """
        opening: list[Step] = []
        closing: list[Step] = []
        name = self.compiled.configuration.guest(vmid).name
        for one in sorted({vmid, *self._ways.get(name, ())}):
            guest = self.opened.configuration.guest(one)
            closed = self.compiled.configuration.guest(guest.vmid)
            others = [rule for rule in guest.rules if _opening_of(rule.comment) not in ("", name)]
            opened = dataclasses.replace(
                guest,
                rules=tuple(rule for rule in guest.rules if rule not in others),
                ipsets=guest.ipsets if guest.vmid == vmid else closed.ipsets,
            )
            opening += guest_changes(closed, opened).gained
            closing += guest_changes(opened, closed).lost
        return tuple(opening), tuple(closing)

    @cached_property
    def _ways(self) -> Mapping[str, frozenset[int]]:
        """VMIDs of the guests that have rules for the opening of a container, by its name."""
        found: dict[str, set[int]] = {}
        for guest in self.opened.configuration.guests:
            for rule in guest.rules:
                found.setdefault(_opening_of(rule.comment), set()).add(guest.vmid)
        return {name: frozenset(vmids) for name, vmids in found.items()}

    @cached_property
    def openings(self) -> tuple[LostFlow, ...]:
        """What all containers together may reach while their package sources are open, and not otherwise."""
        return lost_flows(assumed(self.opened), assumed(self.compiled), self.parties, self.allowed)

    def through(self, vmid: int) -> tuple[LostFlow, ...]:
        """What one container may reach while its package sources are open, and not otherwise."""
        return self._through.get(vmid, ()) if self.executable else ()

    @cached_property
    def _through(self) -> Mapping[int, tuple[LostFlow, ...]]:
        found: dict[int, list[LostFlow]] = {}
        for flow in self.openings:
            found.setdefault(flow.source_vmid, []).append(flow)
        return {vmid: tuple(flows) for vmid, flows in found.items()}


def add_firewall(plan: Plan, world: World, desired: DesiredFirewall) -> Plan:
    """The plan with what the firewall needs.

    Args:
        plan: for the containers; those that are not ours, or wait, get no firewall.
        world: with the firewall as read.
        desired: the firewall as it shall be.
    """
    if world.firewall is None:
        unread = f"the firewall could not be read, so nothing is applied: {world.firewall_unknown}"
        return dataclasses.replace(plan, problems=(*plan.problems, unread))
    there = world.firewall
    wanted = desired.compiled.configuration
    containers = tuple(_container(one, world, there, wanted, desired) for one in plan)
    datacenter = datacenter_changes(there.datacenter, wanted.datacenter)
    if len(containers) < len(wanted.guests):
        # Only some containers: others may still be named by what would be lost.
        datacenter = dataclasses.replace(datacenter, lost=())
    is_on = there.datacenter.options.get("enable", "0") != "0"
    shall = wanted.datacenter.options.get("enable", "0") != "0"
    problems = [
        *plan.problems,
        *world.node_lacks,
        *datacenter.conflicts,
        *(text for c in containers for text in _conflicts(c)),
    ]
    if not is_on and not shall:
        problems.append(
            "the datacenter's firewall is off, and with `firewall.objects: guest` turning it on is not ours to do: "
            "turn it on (Datacenter > Firewall > Options), so that the guests' rules work"
        )
    before = _with_others(there, wanted, containers)
    was = woken(before, wanted)
    shall_be = _after(before, wanted, containers)
    cut = () if world.no_inside else lost_flows(was, shall_be, desired.parties)
    gains = bool(datacenter.gained) or any(one.firewall.gained and one.action not in _FRESH for one in containers)
    found = dataclasses.replace(
        plan,
        containers=containers,
        cut=cut,
        gained=lost_flows(shall_be, was, desired.parties) if gains else (),
        problems=tuple(problems),
        datacenter=datacenter,
        filtered=True,
        switch_on=shall and not is_on,
    )
    planned = {one.vmid for one in containers}
    others = [wanted.guest(one.vmid) for one in there.guests if one.vmid not in planned]
    return made_safe(found, before, desired.parties, others)


def _container(
    plan: ContainerPlan, world: World, there: Configuration, wanted: Configuration, desired: DesiredFirewall
) -> ContainerPlan:
    if plan.action in (Action.REFUSE, Action.WAIT):
        return plan
    target = wanted.guest(plan.vmid)
    fresh = plan.action in _FRESH
    seen = _empty(target) if fresh else _guest(there, target)
    changes, parking = _with_others_kept(plan, world, there, target, guest_changes(seen, target))
    action, reason = plan.action, plan.reason
    if action in (Action.NONE, Action.CONVERGE, Action.LOOK) and not changes.empty:
        action = Action.CHANGE
        words = "its firewall differs"
        reason = f"{words}; {reason}" if reason else words
    found = dataclasses.replace(plan, firewall=changes, action=action, reason=reason, parking=parking)
    if any(is_opening(step) for step in changes.lost):
        found = dataclasses.replace(found, through=desired.through(plan.vmid))
    packaged = fresh and plan.desired is not None and plan.desired.packaged
    needs = plan.converge and not packaged and needs_packages(plan.guest)
    return _with_opening(found, seen, there, desired) if needs else found


def _with_others_kept(
    plan: ContainerPlan, world: World, there: Configuration, target: Guest, changes: Changes
) -> tuple[Changes, Parking | None]:
    """What a container loses when it is replaced, or has lost since, is written again, at its place."""
    copy = world.parked_firewall.get(plan.vmid)
    parking = plan.parking
    now = _empty(target) if plan.action is Action.CREATE else _guest(there, target)
    if plan.action is not Action.REPLACE and copy is None:
        return changes, parking
    whole = with_copy(now, copy)
    if not has_others(whole, target) or (plan.action not in _FRESH and whole == now):
        return changes, parking
    if plan.action is Action.REPLACE:
        parking = parking or Parking(world.spare.get(plan.vmid, 0))
        parking = dataclasses.replace(parking, firewall=written(parking.vmid, copy, whole))
    written_again = written(plan.vmid, None if plan.action in _FRESH else now, brought_up(whole, target))
    foreign = guest_changes(whole, target).foreign
    why = "what others have made of it is written again"
    return dataclasses.replace(
        changes, gained=written_again, lost=(), reasons=(*changes.reasons, why), foreign=foreign
    ), parking


def _with_opening(plan: ContainerPlan, seen: Guest, there: Configuration, desired: DesiredFirewall) -> ContainerPlan:
    """Package sources are open while it converges. A run that was killed may have left them so."""
    opening, closing = desired.opening(plan.vmid)
    # One that is stopped loses what was left before it starts.
    left = () if plan.start else seen.rules
    ends = {plan.vmid, *(step.where.vmid for step in opening)}
    rules = {vmid: _rules_of(there, vmid) for vmid in ends} | {plan.vmid: left}
    missing = tuple(step for one in opening if (step := _unless_left(one, rules[one.where.vmid])) is not None)
    return dataclasses.replace(plan, opening=missing, closing=closing, through=desired.through(plan.vmid))


def _rules_of(there: Configuration, vmid: int) -> tuple[Rule, ...]:
    try:
        return there.guest(vmid).rules
    except KeyError:
        return ()


def _unless_left(step: Step, rules: tuple[Rule, ...]) -> Step | None:
    """A step of an opening, given the rules that a killed run has left: one is put right, and never there twice."""
    if not isinstance(step, InsertRule):
        return step
    found = next(filter(same_rule(step.rule), rules), None)
    if found is None:
        return step
    return None if found == step.rule else UpdateRule(step.where, step.rule, found)


def _with_others(there: Configuration, wanted: Configuration, containers: tuple[ContainerPlan, ...]) -> Configuration:
    """With the containers that were not looked at, as if they were open: one end alone decides what is lost then."""
    known = {*(one.vmid for one in containers), *(one.vmid for one in there.guests)}
    others = (dataclasses.replace(one, options=NO_OPTIONS) for one in wanted.guests if one.vmid not in known)
    return dataclasses.replace(there, guests=(*there.guests, *others))


def _after(there: Configuration, wanted: Configuration, containers: tuple[ContainerPlan, ...]) -> Configuration:
    """The guests that exist, as they will be; the others that were read stay as they are."""
    planned = {one.vmid for one in containers if one.action not in (Action.REFUSE, Action.WAIT)}
    guests = tuple(wanted.guest(one.vmid) if one.vmid in planned else one for one in there.guests)
    options = {**there.datacenter.options, **wanted.datacenter.options}
    datacenter = dataclasses.replace(wanted.datacenter, options=options)
    return dataclasses.replace(there, guests=guests, datacenter=datacenter)


def is_opening(step: Step) -> bool:
    """Whether a step takes away what opens package sources, as one that a killed run has left."""
    return isinstance(step, DropRule) and bool(_opening_of(step.rule.comment))


def _opening_of(comment: str) -> str:
    """The container whose package sources a rule opens; empty for other rules."""
    return comment.removeprefix(OPENING).partition("/")[0] if comment.startswith(OPENING) else ""


def needs_packages(report: GuestReport | None) -> bool:
    """Whether converging may install Debian packages: it does, or it is not known."""
    if report is None or report.failed:
        return True
    return any(change.id.partition(":")[0] == _PACKAGES for change in report.changes)


def _guest(there: Configuration, target: Guest) -> Guest:
    try:
        return there.guest(target.vmid)
    except KeyError:
        return _empty(target)


def _empty(target: Guest) -> Guest:
    return dataclasses.replace(target, options=NO_OPTIONS, aliases=(), ipsets=(), rules=())


def _conflicts(plan: ContainerPlan) -> tuple[str, ...]:
    return plan.firewall.conflicts if plan.firewall is not None else ()
