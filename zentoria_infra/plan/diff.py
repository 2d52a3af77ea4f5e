"""Desired against observed: pure functions that tell what differs and what it takes to change it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from zentoria_infra.guest.state import in_words
from zentoria_infra.plan.masking import MASK, is_harmless
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.plan.model.change import Action, AttributeChange, ContainerPlan, Effect, Plan, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.model.values import format_properties, format_tags, parse_properties, parse_tags, truth, untrue
from zentoria_infra.plan.volumes import binding
from zentoria_infra.plan.volumes.beneath import over_files
from zentoria_infra.plan.volumes.changes import volume_changes
from zentoria_infra.plan.volumes.held import without_held
from zentoria_infra.plan.volumes.stuck import ROOT_ONLY, in_the_way

DEFAULTS: Mapping[str, str] = {"onboot": "0", "protection": "0", "swap": "512", "memory": "512", "cpulimit": "0"}
"""What Proxmox takes for an option that is not there (schema defaults of /nodes/{node}/lxc/{vmid}/config)."""

_NET = re.compile(r"net\d+")
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_FLAGS = frozenset({"onboot", "protection"})
_NET_FLAGS = ("firewall", "link_down")
_WORDS = frozenset({"nameserver", "searchdomain"})
_AFTER_RESTART = frozenset({"nameserver", "searchdomain"})
"""Options that wait for a restart on a running container: Proxmox keeps them pending."""


def make_plan(desired: tuple[DesiredContainer, ...], world: World, *, replace: frozenset[int] = frozenset()) -> Plan:
    """Compare every container of the inventory with what is there.

    Args:
        desired: the containers of the inventory.
        world: what is there.
        replace: VMIDs of containers that are replaced though nothing of them asks for it: somebody wants it so.

    Returns:
        A plan in the order of VMIDs. Problems of the node count only when something must be created.
    """
    desired = tuple(binding.bound(one, world) for one in desired)
    containers = tuple(
        plan_container(one, world.containers.get(one.vmid), world, replace=one.vmid in replace)
        for one in sorted(desired, key=lambda container: container.vmid)
    )
    creates = any(c.action in (Action.CREATE, Action.REPLACE) for c in containers)
    by_vmid = {one.vmid: one for one in desired}
    held = [without_held(one, by_vmid[one.vmid], world) for one in containers]
    stuck = tuple(text for one, problems in held for text in (*problems, *in_the_way(one, world)))
    problems = (*(world.problems if creates else ()), *stuck)
    return Plan(tuple(one for one, _ in held), problems, world.no_inside)


def plan_container(
    desired: DesiredContainer, observed: ObservedContainer | None, world: World, *, replace: bool = False
) -> ContainerPlan:
    """Decide what happens to one container. ``replace``: it is replaced in any case."""
    desired = binding.bound(desired, world)
    if observed is None:
        if desired.vmid in world.taken:
            return _refuse(desired, "the VMID exists, but our token may not see it: it is not in our pool")
        parked = _parked(desired, world)
        reason = "it does not exist"
        if parked and parked.back:
            reason += f"; its data waits on container {parked.vmid}: {', '.join(parked.back)}"
        inside, changes = not world.no_inside, tuple(_coming_back(desired, world))
        return _plan(desired, Action.CREATE, reason, changes, start=True, converge=inside, parked=parked)
    if observed.kind != "lxc":
        return _refuse(desired, "the VMID belongs to a virtual machine")
    if observed.lock == "create":
        return _plan(desired, Action.WAIT, "another call is creating it")
    text = observed.config.get("description", "")
    if ownership.owner(text, desired.site_id, desired.vmid) is not ownership.Owner.OURS:
        why = ownership.why_foreign(text, observed.config.get("tags", ""), desired.site_id, desired.vmid)
        return _refuse(desired, why)
    if observed.node != desired.node:
        return _refuse(desired, f"it is on node {observed.node}, the inventory places it on {desired.node}")
    return _existing(desired, observed, world, replace=replace)


def _existing(desired: DesiredContainer, observed: ObservedContainer, world: World, *, replace: bool) -> ContainerPlan:
    check = world.guests.get(desired.vmid, GuestCheck(unknown=world.no_inside or "it does not run"))
    parked = _parked(desired, world)
    changes = attribute_changes(desired, _with_parked(observed, world))
    attributes = tuple(over_files(changes, desired, check.report))
    worst = max((a.effect for a in attributes), default=Effect.NONE)
    if worst is Effect.REPLACE or replace:
        return _replacement(desired, observed, world, attributes)
    back = parked.back if parked else ()
    # What waits and is as the inventory wants it; the rest is taken back, or was told before (:func:`in_the_way`).
    pending = {key for key in observed.pending if not ROOT_ONLY.fullmatch(key)}
    pending = pending - {a.key for a in attributes if a.via is Via.REVERT}
    waiting = observed.running and (worst is Effect.RESTART or bool(pending) or bool(back))
    inside = check.report is not None and bool(check.report.changes or check.report.failed)
    blind = check.report is None and not world.no_inside
    if not observed.running:
        action, reason = Action.START, f"its status is {observed.status}"
    elif waiting and parked and back:
        action, reason = Action.RESTART, f"it was replaced, and {', '.join(back)} is still parked on {parked.vmid}"
    elif waiting:
        late = sorted({a.key for a in attributes if a.effect is Effect.RESTART} | pending)
        action, reason = Action.RESTART, f"{', '.join(late)} takes effect at a restart"
    elif attributes:
        action, reason = Action.CHANGE, f"{', '.join(a.key for a in attributes)} differs"
    elif parked:
        action, reason = Action.CHANGE, f"it was replaced, and its parking container {parked.vmid} is still there"
    elif inside:
        action, reason = Action.CONVERGE, _inside(check)
    elif blind:
        action, reason = Action.LOOK, f"what is inside is unknown: {check.unknown}"
    else:
        action, reason = Action.NONE, ""
    if observed.lock and action not in (Action.NONE, Action.CONVERGE, Action.LOOK):
        reason += _locked(observed)
    stopped = not observed.running
    return ContainerPlan(
        vmid=desired.vmid,
        name=desired.name,
        hostname=desired.hostname,
        node=desired.node,
        action=action,
        reason=reason,
        attributes=attributes,
        start=stopped,
        restart=waiting,
        guest=check.report,
        guest_unknown=check.unknown,
        converge=not world.no_inside and (stopped or waiting or inside or blind),
        digest=observed.digest,
        parking=parked,
        desired=desired,
    )


def _replacement(
    desired: DesiredContainer, observed: ObservedContainer, world: World, attributes: tuple[AttributeChange, ...]
) -> ContainerPlan:
    """Destroy it and make it again; its data volumes are parked meanwhile."""
    blamed = ", ".join(a.key for a in attributes if a.effect is Effect.REPLACE)
    reason = f"{blamed} cannot be changed on a container" if blamed else "somebody asked for it"
    reason += _locked(observed)
    held, old = parking.data_volumes(observed.config), _parked(desired, world)
    config = {**_parked_config(desired.vmid, world), **observed.config}
    found = old or parking.Parking(world.spare.get(desired.vmid, 0))
    back = tuple(dict.fromkeys((*found.back, *held)))
    storages = {**found.storages, **{key: volume.partition(":")[0] for key, volume in held.items()}}
    found = dataclasses.replace(found, park=tuple(held), back=back, storages=storages)
    if back:
        reason += f"; the data on {parking.words(config, back)} is kept"
        if any(a.key == "unprivileged" for a in attributes):
            # Root of an unprivileged container is 100000 on the disk, and so on.
            shift = "added to" if desired.unprivileged else "taken away from"
            reason += f", but its files belong to others then, until 100000 is {shift} their user and group ids"
    return _plan(
        desired,
        Action.REPLACE,
        reason,
        attributes,
        start=True,
        converge=not world.no_inside,
        protected=desired.protect or truth(observed.config.get("protection", "0")),
        parked=found if back or old else None,
        digest=observed.digest,
        kept_tags=ownership.foreign_tags(parse_tags(observed.config.get("tags", "")), desired.tags),
    )


def _locked(observed: ObservedContainer) -> str:
    """What a lock means for a change: Proxmox refuses each (``CT is locked``), whoever asks."""
    return f"; it is locked ({observed.lock}), and Proxmox refuses it until that has ended" if observed.lock else ""


def _parked(desired: DesiredContainer, world: World) -> parking.Parking | None:
    """What a replacement that did not end has left."""
    there = world.parked.get(desired.vmid)
    if there is None:
        return None
    held = parking.data_volumes(there.config)
    storages = {key: volume.partition(":")[0] for key, volume in held.items()}
    return parking.Parking(there.vmid, exists=True, back=tuple(held), storages=storages)


def _parked_config(vmid: int, world: World) -> Mapping[str, str]:
    there = world.parked.get(vmid)
    return {key: there.config[key] for key in parking.data_volumes(there.config)} if there is not None else {}


def _with_parked(observed: ObservedContainer, world: World) -> ObservedContainer:
    """The container as it is once its volumes are back: their keys must not be taken for missing ones."""
    config = {**_parked_config(observed.vmid, world), **observed.config}
    return dataclasses.replace(observed, config=config)


def _coming_back(desired: DesiredContainer, world: World) -> Iterator[AttributeChange]:
    """What the inventory changed of parked volumes, while the container that they come back to was gone.

    Of those that are made with it only what they hide of the others: to be made is no change of it.
    """
    held = _parked_config(desired.vmid, world)
    hidden = binding.out_of_sight(desired, held, {})
    for one in volume_changes(desired, held) if held else ():
        if one.key in held or one.key in hidden:
            yield dataclasses.replace(one, hides=hidden.get(one.key, "")) if one.via is Via.CONFIG else one


def _inside(check: GuestCheck) -> str:
    report = check.report
    if report is None:
        return ""
    if not report.changes:
        return f"{report.failed} failed when it was looked at"
    names = [in_words(change.id) for change in report.changes]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"inside: {', '.join(names[:3])}{more}"


def attribute_changes(desired: DesiredContainer, observed: ObservedContainer) -> Iterator[AttributeChange]:
    """Yield every configuration value that differs.

    Shapes that mean the same to Proxmox are no difference. Neither is a disk that is larger than the inventory
    says: Proxmox cannot shrink one, and more room does no harm. A change that waits for a restart, of a value that
    holds until then as the inventory wants it, is taken back; so is one of a value that the inventory does not set,
    for it is somebody else's, and any restart would put it in force.

    Args:
        desired: with its volumes at their mount points (:func:`zentoria_infra.plan.volumes.binding.bound`).
        observed: what is there.
    """
    changes = (*_differences(desired, observed.config), *_going(desired, observed))
    holds = {key: value for key, value in observed.config.items() if key not in observed.pending}
    wrong = {one.key for one in _differences(desired, {**holds, **observed.in_force})} if observed.pending else set()
    taken_back = set[str]()
    names = ownership.volumes(observed.config.get("description", ""))
    hidden = binding.out_of_sight(desired, {**holds, **observed.in_force}, names)
    for one in changes:
        # What goes through `pct` is let in over SSH for setting features, and for nothing else.
        if one.key not in observed.pending or one.key in wrong or one.via is Via.PCT:
            yield dataclasses.replace(one, hides=hidden.get(one.key, "")) if one.via is Via.CONFIG else one
        elif one.key not in taken_back:
            taken_back.add(one.key)
            yield _taken_back(desired, observed, one.key)
    for key in sorted(observed.pending - {one.key for one in changes}):
        if not _is_set(desired, key) and not ROOT_ONLY.fullmatch(key):
            yield _taken_back(desired, observed, key)


def _taken_back(desired: DesiredContainer, observed: ObservedContainer, key: str) -> AttributeChange:
    before, after = observed.config.get(key, ""), observed.in_force.get(key, "")
    if not is_harmless(key):  # as ``env``: there may be a password in it
        before, after = MASK if before else "", MASK if after else ""
    return _change(desired, key, before, after, via=Via.REVERT)


def _is_set(desired: DesiredContainer, key: str) -> bool:
    """Whether the inventory says what an option shall be, or that there shall be none."""
    ours = key in desired.options or key in ("features", "tags", "unprivileged", "rootfs")
    return ours or _NET.fullmatch(key) is not None or binding.MOUNT.fullmatch(key) is not None


def _going(desired: DesiredContainer, observed: ObservedContainer) -> Iterator[AttributeChange]:
    """Mount points that go at the next restart, and that the inventory does not have either: it is our restart."""
    ours = {volume.key for volume in desired.volumes}
    for key in sorted(observed.in_force.keys() - observed.config.keys() - ours):
        if binding.MOUNT.fullmatch(key):
            yield _change(desired, key, observed.in_force[key], "", Effect.RESTART)


def _differences(desired: DesiredContainer, there: Mapping[str, str]) -> Iterator[AttributeChange]:
    if truth(there.get("unprivileged", "0")) != desired.unprivileged:
        after = "1" if desired.unprivileged else "0"
        yield _change(desired, "unprivileged", there.get("unprivileged", "0"), after, Effect.REPLACE)
    yield from volume_changes(desired, there)
    for key, value in desired.options.items():
        seen = there.get(key, DEFAULTS.get(key, ""))
        if _plain(key, seen) != _plain(key, value):
            effect = Effect.RESTART if key in _AFTER_RESTART else Effect.NONE
            yield _change(desired, key, seen, value, effect)
    for key, net in desired.nets.items():
        seen = there.get(key, "")
        if _net(parse_properties(seen), net) != _net(net, net):
            yield _change(desired, key, seen, format_properties(net))
    for key, seen in there.items():
        if _NET.fullmatch(key) and key not in desired.nets:
            yield _change(desired, key, seen, "")
    yield from _features(desired, there)
    tags = parse_tags(there.get("tags", ""))
    kept = ownership.foreign_tags(tags, desired.tags)
    if tags - kept != desired.tags:
        yield _change(desired, "tags", there.get("tags", ""), format_tags(desired.tags | kept))


def _features(desired: DesiredContainer, there: Mapping[str, str]) -> Iterator[AttributeChange]:
    parsed = parse_properties(there.get("features", ""))
    seen = frozenset(key for key, value in parsed.items() if value and not untrue(value))
    if seen == desired.features:
        return
    by_api = desired.unprivileged and (seen ^ desired.features) <= {"nesting"}
    via = Via.CONFIG if by_api else Via.PCT
    after = ",".join(f"{name}=1" for name in sorted(desired.features))
    yield _change(desired, "features", there.get("features", ""), after, Effect.RESTART, via)


def _plain(key: str, value: str) -> object:
    if key in _FLAGS:
        return truth(value or "0")
    if key in _WORDS:
        return tuple(value.replace(",", " ").split())
    if key == "startup":
        return {name: number.lstrip("0") for name, number in parse_properties(value, "order").items()}
    if key == "description":
        return value.strip()
    if key in ("memory", "swap", "cores"):
        return int(value) if value.isascii() and value.isdigit() else value
    if key == "cpulimit":
        return float(value or "0") if _NUMBER.fullmatch(value or "0") else value
    if key == "hostname":
        return value.lower()
    return value


def _net(values: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """A NIC without what says nothing: defaults that are written out, and an address that Proxmox chose."""
    found = {"type": "veth", **values}
    if "hwaddr" in found:
        found["hwaddr"] = found["hwaddr"].upper()
        if "hwaddr" not in wanted:
            del found["hwaddr"]
    for flag in _NET_FLAGS:
        if truth(found.pop(flag, "0")):
            found[flag] = "1"
    return {key: value for key, value in found.items() if value}


def _change(
    desired: DesiredContainer,
    key: str,
    before: str,
    after: str,
    effect: Effect = Effect.NONE,
    via: Via = Via.CONFIG,
    value: str = "",
) -> AttributeChange:
    return AttributeChange(key, before, after, effect, via, value, desired.said_at(key))


def _refuse(desired: DesiredContainer, why: str) -> ContainerPlan:
    return _plan(desired, Action.REFUSE, why)


def _plan(
    desired: DesiredContainer,
    action: Action,
    reason: str,
    attributes: tuple[AttributeChange, ...] = (),
    *,
    start: bool = False,
    converge: bool = False,
    protected: bool = False,
    parked: parking.Parking | None = None,
    digest: str = "",
    kept_tags: frozenset[str] = frozenset(),
) -> ContainerPlan:
    return ContainerPlan(
        vmid=desired.vmid,
        name=desired.name,
        hostname=desired.hostname,
        node=desired.node,
        action=action,
        reason=reason,
        attributes=attributes,
        start=start,
        converge=converge,
        protected=protected,
        parking=parked,
        desired=None if action in (Action.REFUSE, Action.WAIT) else desired,
        digest=digest,
        kept_tags=kept_tags,
    )
