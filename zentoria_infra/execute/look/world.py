"""Reads the world for a plan: what is on the node, and what the agents inside running containers say."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from zentoria_infra.errors import ApiError, TaskError, ZentoriaError
from zentoria_infra.execute.look.reading import readers
from zentoria_infra.plan.diff import attribute_changes
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.plan.model.change import AttributeChange, Effect, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.volumes.binding import bound_to
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.records import Guest
from zentoria_infra.proxmox.volumes import vmids_of

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

Look = Callable[[DesiredContainer], GuestCheck]
"""Asks the agent inside a running container what it would change."""

TASKS = frozenset({
    "vzcreate", "vzdestroy", "vzstart", "vzshutdown", "vzstop", "vzreboot", "resize", "move_volume", "vzsnapshot",
    "vzdelsnapshot", "vzrollback",
})  # fmt: skip
"""Types of tasks that change a container."""

READS = 8
"""Reads at once. The API has three workers, and each read is short."""

LOOKS = 17
"""Looks into guests at once; the SSH connection itself holds back what is too much for it."""


def observe(
    observer: Observer,
    desired: Sequence[DesiredContainer],
    look: Look | None = None,
    *,
    no_inside: str = "",
    replace: Collection[int] = (),
    reserved: Collection[int] = (),
    pools: Collection[str] = (),
) -> World:
    """Read everything a plan needs.

    Calls: two for the lists, one a container that exists, one a container that does not, and four more when
    something must be made.

    Args:
        observer: reads the node.
        desired: the containers of the inventory.
        look: asks inside; None leaves the inside unknown.
        no_inside: why nothing can be done inside guests; it goes into the world as it is.
        replace: VMIDs of containers that somebody wants replaced.
        reserved: VMIDs that are no spare ones, besides those of ``desired``.
        pools: of the site, besides those of ``desired``: what is in them may be ours, though the run is not for it.

    Raises:
        ZentoriaError: the node could not be read.
    """
    guests = {guest.vmid: guest for guest in observer.resources()}
    of_pool = {guest.vmid: guest.pool for guest in guests.values()}
    vmids = {one.vmid for one in desired}
    for node in sorted({one.node for one in desired}):
        # /cluster/resources is up to ten seconds behind (pvestatd's cycle); the node's own list is not.
        guests |= {guest.vmid: guest for guest in observer.containers(node)}
    there = [one for one in desired if one.vmid in guests]
    missing = [one for one in desired if one.vmid not in guests]
    containers = {c.vmid: c for c in _each(lambda one: _container(observer, guests[one.vmid]), there, READS)}
    free = dict(zip((m.vmid for m in missing), _each(lambda m: observer.is_free(m.vmid), missing, READS), strict=True))
    checks: dict[int, GuestCheck] = {}
    if look is not None:
        inside = [one for one in there if is_ours(one, containers[one.vmid]) and containers[one.vmid].running]
        checks = dict(zip((one.vmid for one in inside), _each(look, inside, LOOKS), strict=True))
    taken = frozenset(vmid for vmid, is_free in free.items() if not is_free)
    making = [one for one in missing if one.vmid not in taken]
    parked = _parked(observer, desired, guests)
    differing = {one.vmid: _differing(one, containers[one.vmid], parked.get(one.vmid)) for one in there}
    to_replace = {vmid for vmid, found in differing.items() if any(one.effect is Effect.REPLACE for one in found)}
    to_move = {vmid for vmid, found in differing.items() if any(one.via is Via.MOVE for one in found)}
    replaced = [one for one in there if one.vmid in replace or one.vmid in to_replace]
    spare = _spare(observer, [one.vmid for one in replaced if one.vmid not in parked], {*vmids, *reserved})
    templates = _templates(observer, [*making, *replaced])
    problems = tuple(_problems(observer, [*making, *replaced], templates))
    held = [one for one in there if one in replaced or one.vmid in to_move]
    listed = _each(lambda one: observer.snapshots(one.vmid, containers[one.vmid].node), held, READS)
    snapshots = dict(zip((one.vmid for one in held), listed, strict=True))
    known = {*vmids, *reserved}
    moving = making or any(one.key.startswith("net") for found in differing.values() for one in found)
    besides = [guests[vmid] for vmid in sorted(guests.keys() - vmids)]
    ours = {*pools, *(one.pool for one in desired)}
    others = _others(observer, ours, besides, known, of_pool, all_of_ours=bool(moving))
    return World(containers, taken, checks, problems, no_inside, parked=parked, spare=spare, snapshots=snapshots,
                 others=others, templates=templates)  # fmt: skip


def observe_others(
    observer: Observer, nodes: Collection[str], pools: Collection[str], known: Collection[int]
) -> dict[int, ObservedContainer]:
    """Containers that are in our pools, or carry our tag, and are not in the inventory.

    Args:
        observer: reads the nodes.
        nodes: of the inventory.
        pools: of the site.
        known: the VMIDs of the inventory.
    """
    found = {guest.vmid: guest for guest in observer.resources()}
    of_pool = {vmid: guest.pool for vmid, guest in found.items()}
    for node in sorted(nodes):
        found |= {guest.vmid: guest for guest in observer.containers(node)}
    besides = [guest for vmid, guest in sorted(found.items()) if vmid not in known]
    return _others(observer, pools, besides, known, of_pool, all_of_ours=False)


def _others(
    observer: Observer,
    our_pools: Collection[str],
    guests: Sequence[Guest],
    known: Collection[int],
    pools: Mapping[int, str],
    *,
    all_of_ours: bool,
) -> dict[int, ObservedContainer]:
    """Containers that are in our pool, or carry our tag, and are not of this run: orphans, and guests of others.

    With ``all_of_ours`` also those of the inventory that the run is not for: somebody is about to get an address.
    """
    ours = set(our_pools) - {""}
    found = [
        guest
        for guest in guests
        if guest.kind == "lxc"
        and (all_of_ours if guest.vmid in known else ownership.TAG in guest.tags or pools.get(guest.vmid) in ours)
        and parking.holds_for(guest.name) not in known
    ]

    def read(guest: Guest) -> ObservedContainer | None:
        try:
            return _container(observer, guest)
        except ApiError:
            return None  # it is going, or its rights have changed: then it is none that we can see

    return {one.vmid: one for one in _each(read, found, READS) if one is not None}


def _parked(
    observer: Observer, desired: Sequence[DesiredContainer], guests: Mapping[int, Guest]
) -> dict[int, ObservedContainer]:
    """Parking containers that a killed run has left; of several for one container that which holds most."""
    by_vmid = {one.vmid: one for one in desired}
    found: dict[int, ObservedContainer] = {}
    for guest in sorted(guests.values(), key=lambda guest: guest.vmid):
        one = by_vmid.get(parking.holds_for(guest.name))
        if one is None or guest.vmid in by_vmid or guest.kind != "lxc" or guest.node != one.node:
            continue
        seen = _container(observer, guest)
        if not parking.is_for(seen.config.get("description", ""), one.site_id, one.vmid):
            continue
        other = found.get(one.vmid)
        if other is None or len(parking.data_volumes(seen.config)) > len(parking.data_volumes(other.config)):
            found[one.vmid] = seen
    return found


def _spare(observer: Observer, vmids: Sequence[int], taken: Collection[int]) -> dict[int, int]:
    """A free VMID for each, the first ones above those of the inventory: nobody else counts on them."""
    numbers = (number for number in itertools.count(max(taken, default=99) + 1) if observer.is_free(number))
    return dict(zip(vmids, numbers, strict=False))


def wait_for_tasks(
    observer: Observer, desired: Sequence[DesiredContainer], who: str = "", seconds: float = 900
) -> None:
    """Wait until no task that a killed run left on the node is at work on a container of ours.

    A container joins its pool when its create task ends. Until then a token with rights on the pool does not see it,
    but it sees its own tasks.

    Args:
        observer: reads the node.
        desired: the containers of the inventory.
        who: we, as Proxmox calls us: all that we create is waited for. A parking container may be among it, whose
            VMID nobody knows.
        seconds: how long; a create from a large template takes minutes.

    Raises:
        TaskError: one is still at work after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    nodes = sorted({one.node for one in desired})
    vmids = {one.vmid for one in desired}
    while True:
        busy = {g.vmid for n in nodes for g in observer.containers(n) if g.vmid in vmids and g.lock == "create"}
        busy |= {
            vmid
            for node in nodes
            for task in observer.running_tasks(node=node)
            if task.kind in TASKS
            for vmid in vmids_of(task.subject)
            if vmid in vmids or (task.kind == "vzcreate" and _user(task.user) == _user(who))
        }
        if not busy:
            return
        if time.monotonic() > deadline:
            raise TaskError(
                f"wait for the tasks of container {', '.join(map(str, sorted(busy)))}",
                got=f"they are at work for more than {seconds:.0f} seconds",
                todo="look at the node's task list; when they have ended, run again",
            )
        time.sleep(0.5)


def _user(who: str) -> str:
    """A user without the name of its token: lists of tasks tell the two apart."""
    return who.partition("!")[0]


def _each(work: Callable[[_Item], _Found], items: Sequence[_Item], at_once: int) -> list[_Found]:
    if not items:
        return []
    with readers(min(at_once, len(items)), "observe") as pool:
        return list(pool.map(work, items))


def _container(observer: Observer, guest: Guest) -> ObservedContainer:
    if guest.kind != "lxc":
        return ObservedContainer(guest.vmid, guest.node, guest.kind, guest.status)
    config, waiting = observer.config_and_pending(guest.vmid, guest.node)
    return ObservedContainer(
        guest.vmid,
        guest.node,
        guest.kind,
        guest.status,
        config.values,
        frozenset(waiting),
        config.digest,
        {key: value for key, value in waiting.items() if value is not None},
    )


def is_ours(desired: DesiredContainer, observed: ObservedContainer) -> bool:
    """Whether a guest is a container that carries our mark."""
    text = observed.config.get("description", "")
    return observed.kind == "lxc" and ownership.owner(text, desired.site_id, desired.vmid) is ownership.Owner.OURS


def _differing(
    desired: DesiredContainer, observed: ObservedContainer, parked: ObservedContainer | None
) -> tuple[AttributeChange, ...]:
    if observed.kind != "lxc":
        return ()
    return tuple(attribute_changes(bound_to(desired, observed, parked), observed))


def _templates(observer: Observer, making: Sequence[DesiredContainer]) -> dict[str, dict[str, int]]:
    """Templates by node and volume id, and their sizes, on the storages that containers are made from."""
    found: dict[str, dict[str, int]] = {}
    for node, storage in sorted({(one.node, one.ostemplate.partition(":")[0]) for one in making}):
        try:
            listed = observer.templates(storage, node)
        except ApiError:
            continue  # there is no such storage, or we may not see it: that is told with what else is missing
        found.setdefault(node, {}).update({one.volid: one.size for one in listed})
    return found


def _problems(
    observer: Observer, making: Sequence[DesiredContainer], templates: Mapping[str, Mapping[str, int]]
) -> Iterable[str]:
    """Say what the node lacks for the containers that must be made, before the first is made."""
    if not making:
        return
    for node in sorted({one.node for one in making}):
        here = [one for one in making if one.node == node]
        storages = {storage.name: storage for storage in observer.storages(node) if storage.active and storage.enabled}
        wanted = {volume.storage for one in here for volume in (one.rootfs, *one.volumes)}
        for name in sorted(wanted):
            if name not in storages:
                yield f"node {node} has no active storage '{name}' that we may see: set another one under `storages`"
            elif "rootdir" not in storages[name].content:
                yield f"storage '{name}' on node {node} does not take containers: add the content type 'rootdir' to it"
        for volid in sorted({one.ostemplate for one in here}):
            storage = volid.partition(":")[0]
            if storage not in storages:
                yield f"node {node} has no active storage '{storage}', which the template {volid} is on"
            elif volid not in templates.get(node, {}):
                yield f"node {node} has no template {volid}: download it (`pveam download`) or set `template`"
        bridges = {bridge.name for bridge in observer.bridges(node)}
        for name in sorted({net["bridge"] for one in here for net in one.nets.values() if "bridge" in net}):
            if name not in bridges:
                yield f"node {node} has no bridge '{name}': make it, or set another one under `bridges`"
    for pool in sorted({one.pool for one in making if one.pool}):
        if observer.pool(pool) is None:
            yield f"there is no pool '{pool}' that we may see: make it, or set another one under `proxmox.pool`"


def unfiltered(observer: Observer, desired: Sequence[DesiredContainer]) -> Iterable[str]:
    """Say on which nodes nothing is filtered, whatever the rules are: their pve-firewall does not run.

    Proxmox's takes its rules away when it stops ("The host is unprotected afterwards", PVE::Service::pve_firewall).
    """
    for node in sorted({one.node for one in desired}):
        try:
            runs = observer.service_runs("pve-firewall", node)
        except ApiError:
            continue  # what we may not ask, other problems tell
        if not runs:
            yield (
                f"pve-firewall does not run on node {node}: nothing is filtered there, and no guest is started so; "
                f"`systemctl restart pve-firewall` there, and `journalctl -u pve-firewall` tells why it ended"
            )


def describe(error: ZentoriaError) -> str:
    """An error in one line, for a check that could not look inside."""
    return str(error).splitlines()[0]
