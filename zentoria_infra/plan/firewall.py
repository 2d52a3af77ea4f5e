"""The firewall's part of a plan: what each guest and the datacenter gain and lose, and what stands in the way."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from zentoria_infra.firewall.changes import datacenter_changes, guest_changes
from zentoria_infra.firewall.config import NO_OPTIONS, Configuration, Guest
from zentoria_infra.firewall.intent import Compiled
from zentoria_infra.firewall.network import assumed
from zentoria_infra.firewall.parties import Parties
from zentoria_infra.firewall.steps import InsertRule, Step
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.change import Action, ContainerPlan, LostFlow, Plan
from zentoria_infra.plan.lost_flows import lost_flows
from zentoria_infra.plan.observed import World

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

    def opening(self, vmid: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps that open a container's package sources, and those that close them again."""
        closed, opened = self.compiled.configuration.guest(vmid), self.opened.configuration.guest(vmid)
        return guest_changes(closed, opened).gained, guest_changes(opened, closed).lost

    @cached_property
    def openings(self) -> tuple[LostFlow, ...]:
        """What all containers together may reach while their package sources are open, and not otherwise."""
        return lost_flows(assumed(self.opened), assumed(self.compiled), self.parties)


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
    containers = tuple(_container(one, there, wanted, desired) for one in plan)
    datacenter = datacenter_changes(there.datacenter, wanted.datacenter)
    if len(containers) < len(wanted.guests):
        # Only some containers: others may still be named by what would be lost.
        datacenter = dataclasses.replace(datacenter, lost=())
    is_on = there.datacenter.options.get("enable", "0") != "0"
    shall = wanted.datacenter.options.get("enable", "0") != "0"
    problems = [*plan.problems, *datacenter.conflicts, *(text for c in containers for text in _conflicts(c))]
    if not is_on and not shall:
        problems.append(
            "the datacenter's firewall is off, and with `firewall.objects: guest` turning it on is not ours to do: "
            "turn it on (Datacenter > Firewall > Options), so that the guests' rules work"
        )
    cut = () if world.no_inside else lost_flows(there, _after(there, wanted, containers), desired.parties)
    return dataclasses.replace(
        plan,
        containers=containers,
        cut=cut,
        problems=tuple(problems),
        datacenter=datacenter,
        switch_on=shall and not is_on,
    )


def _container(
    plan: ContainerPlan, there: Configuration, wanted: Configuration, desired: DesiredFirewall
) -> ContainerPlan:
    if plan.action in (Action.REFUSE, Action.WAIT):
        return plan
    target = wanted.guest(plan.vmid)
    fresh = plan.action in _FRESH
    seen = _empty(target) if fresh else _guest(there, target)
    changes = guest_changes(seen, target)
    action, reason = plan.action, plan.reason
    if action in (Action.NONE, Action.CONVERGE) and not changes.empty:
        action = Action.CHANGE
        words = "its firewall differs"
        reason = f"{words}; {reason}" if reason else words
    found = dataclasses.replace(plan, firewall=changes, action=action, reason=reason)
    return _with_opening(found, seen, desired) if plan.converge and needs_packages(plan.guest) else found


def _with_opening(plan: ContainerPlan, seen: Guest, desired: DesiredFirewall) -> ContainerPlan:
    """Package sources are open while it converges. A run that was killed may have left them so."""
    left = {rule.comment for rule in seen.rules}
    opening, closing = desired.opening(plan.vmid)
    missing = tuple(step for step in opening if not (isinstance(step, InsertRule) and step.rule.comment in left))
    through = tuple(flow for flow in desired.openings if flow.source_vmid == plan.vmid)
    return dataclasses.replace(plan, opening=missing, closing=closing, through=through)


def _after(there: Configuration, wanted: Configuration, containers: tuple[ContainerPlan, ...]) -> Configuration:
    """The guests that exist, as they will be; the others that were read stay as they are."""
    planned = {one.vmid for one in containers if one.action not in (Action.REFUSE, Action.WAIT)}
    guests = tuple(wanted.guest(one.vmid) if one.vmid in planned else one for one in there.guests)
    options = {**there.datacenter.options, **wanted.datacenter.options}
    datacenter = dataclasses.replace(wanted.datacenter, options=options)
    return dataclasses.replace(there, guests=guests, datacenter=datacenter)


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
