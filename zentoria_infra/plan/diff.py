"""Desired against observed: pure functions that tell what differs and what it takes to change it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from zentoria_infra.plan import ownership
from zentoria_infra.plan.change import Action, AttributeChange, ContainerPlan, Effect, Plan, Via
from zentoria_infra.plan.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.values import (
    GIB,
    format_properties,
    format_tags,
    parse_properties,
    parse_size,
    parse_tags,
    truth,
    untrue,
)

DEFAULTS: Mapping[str, str] = {"onboot": "0", "protection": "0", "swap": "512", "memory": "512", "cpulimit": "0"}
"""What Proxmox takes for an option that is not there (schema defaults of /nodes/{node}/lxc/{vmid}/config)."""

_NET = re.compile(r"net\d+")
_VOLUME = re.compile(r"(mp|unused)\d+")
_UNALLOCATED = re.compile(r"[^:]+:\d+(\.\d+)?")
"""A volume as it is asked for, ``storage:GiB``: Proxmox keeps it so when adding it to a running container failed."""
_MOUNT = re.compile(r"mp\d+")
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_FLAGS = frozenset({"onboot", "protection"})
_NET_FLAGS = ("firewall", "link_down")
_WORDS = frozenset({"nameserver", "searchdomain"})
_AFTER_RESTART = frozenset({"nameserver", "searchdomain"})
"""Options that wait for a restart on a running container: Proxmox keeps them pending."""


def make_plan(desired: tuple[DesiredContainer, ...], world: World) -> Plan:
    """Compare every container of the inventory with what is there.

    Returns:
        A plan in the order of VMIDs. Problems of the node count only when something must be created.
    """
    containers = tuple(
        plan_container(one, world.containers.get(one.vmid), world)
        for one in sorted(desired, key=lambda container: container.vmid)
    )
    creates = any(c.action in (Action.CREATE, Action.REPLACE) for c in containers)
    return Plan(containers, world.problems if creates else (), world.no_inside)


def plan_container(desired: DesiredContainer, observed: ObservedContainer | None, world: World) -> ContainerPlan:
    """Decide what happens to one container."""
    if observed is None:
        if desired.vmid in world.taken:
            return _refuse(desired, "the VMID exists, but our token may not see it: it is not in our pool")
        return _plan(desired, Action.CREATE, "it does not exist", start=True, converge=not world.no_inside)
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
    return _existing(desired, observed, world)


def _existing(desired: DesiredContainer, observed: ObservedContainer, world: World) -> ContainerPlan:
    check = world.guests.get(desired.vmid, GuestCheck(unknown=world.no_inside or "it does not run"))
    attributes = tuple(attribute_changes(desired, observed))
    worst = max((a.effect for a in attributes), default=Effect.NONE)
    if worst is Effect.REPLACE:
        keys = ", ".join(a.key for a in attributes if a.effect is Effect.REPLACE)
        reason = f"{keys} cannot be changed on a container"
        lost = tuple(
            f"{key} ({parse_properties(value, 'volume').get('mp', 'no mount point')})"
            for key, value in sorted(observed.config.items())
            if _VOLUME.fullmatch(key)
        )
        protected = desired.protect or truth(observed.config.get("protection", "0"))
        return _plan(
            desired,
            Action.REPLACE,
            reason,
            attributes,
            start=True,
            converge=not world.no_inside,
            volumes=lost,
            protected=protected,
        )
    waiting = observed.running and (worst is Effect.RESTART or bool(observed.pending))
    inside = check.report is not None and bool(check.report.changes or check.report.failed)
    blind = check.report is None and not world.no_inside
    if not observed.running:
        action, reason = Action.START, f"its status is {observed.status}"
    elif waiting:
        late = sorted({a.key for a in attributes if a.effect is Effect.RESTART} | observed.pending)
        action, reason = Action.RESTART, f"{', '.join(late)} takes effect at a restart"
    elif attributes:
        action, reason = Action.CHANGE, f"{', '.join(a.key for a in attributes)} differs"
    elif inside:
        action, reason = Action.CONVERGE, _inside(check)
    elif blind:
        action, reason = Action.CONVERGE, f"what is inside is unknown: {check.unknown}"
    else:
        action, reason = Action.NONE, ""
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
    )


def _inside(check: GuestCheck) -> str:
    report = check.report
    if report is None:
        return ""
    if not report.changes:
        return f"{report.failed} failed when it was looked at"
    names = [change.id for change in report.changes]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"inside: {', '.join(names[:3])}{more}"


def attribute_changes(desired: DesiredContainer, observed: ObservedContainer) -> Iterator[AttributeChange]:
    """Yield every configuration value that differs.

    Shapes that mean the same to Proxmox are no difference. Neither is a disk that is larger than the inventory
    says: Proxmox cannot shrink one, and more room does no harm.
    """
    there = observed.config
    if truth(there.get("unprivileged", "0")) != desired.unprivileged:
        after = "1" if desired.unprivileged else "0"
        yield _change(desired, "unprivileged", there.get("unprivileged", "0"), after, Effect.REPLACE)
    yield from _volumes(desired, there)
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
    if parse_tags(there.get("tags", "")) != desired.tags:
        yield _change(desired, "tags", there.get("tags", ""), format_tags(desired.tags))


def _features(desired: DesiredContainer, there: Mapping[str, str]) -> Iterator[AttributeChange]:
    parsed = parse_properties(there.get("features", ""))
    seen = frozenset(key for key, value in parsed.items() if value and not untrue(value))
    if seen == desired.features:
        return
    via = Via.CONFIG if (seen ^ desired.features) <= {"nesting"} else Via.PCT
    after = ",".join(f"{name}=1" for name in sorted(desired.features))
    yield _change(desired, "features", there.get("features", ""), after, Effect.RESTART, via)


def _volumes(desired: DesiredContainer, there: Mapping[str, str]) -> Iterator[AttributeChange]:
    for volume in (desired.rootfs, *desired.volumes):
        seen = there.get(volume.key, "")
        if not seen:
            yield _change(desired, volume.key, "", volume_text(volume))
            continue
        parsed = parse_properties(seen, "volume")
        if _UNALLOCATED.fullmatch(parsed.get("volume", "")):
            continue  # it could not be added while the container ran: it is pending, and the restart makes it
        storage = parsed.get("volume", "").partition(":")[0]
        if storage != volume.storage:
            yield _change(desired, volume.key, seen, volume_text(volume), Effect.REPLACE)
            continue
        size = parse_size(parsed.get("size", "0"))
        if size < volume.size:
            grown = f"{volume.size // GIB}G"
            yield _change(desired, volume.key, parsed.get("size", "?"), grown, via=Via.RESIZE, value=grown)
        mounted = parsed.get("mp", "").rstrip("/"), truth(parsed.get("backup", "0"))
        if volume.path and mounted != (volume.path.rstrip("/"), volume.backup):
            parsed |= {"mp": volume.path, "backup": str(int(volume.backup))}
            text = format_properties(parsed, "volume")
            yield _change(desired, volume.key, seen, text, Effect.RESTART)
    ours = {volume.key for volume in desired.volumes}
    for key, seen in there.items():
        if _MOUNT.fullmatch(key) and key not in ours:
            # Proxmox keeps the volume as unusedN: nothing on it is lost.
            yield _change(desired, key, seen, "", Effect.RESTART)


def volume_text(volume: DesiredVolume) -> str:
    """The value that allocates a volume: ``storage:GiB`` with its mount point."""
    values = {"volume": f"{volume.storage}:{volume.size // GIB}"}
    if volume.path:
        values |= {"mp": volume.path, "backup": "1" if volume.backup else "0"}
    return format_properties(values, "volume")


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
    volumes: tuple[str, ...] = (),
    protected: bool = False,
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
        volumes=volumes,
        protected=protected,
    )
