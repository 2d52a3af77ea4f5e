"""Snapshots of a container: take one, go back to one, remove one (PVE::AbstractConfig, PVE::LXC::Config).

As in Proxmox the container's lock is held for the two changes of the configuration only. In between, where the volumes
are copied, the configuration's ``lock`` keeps everybody else away, and stays when the node dies meanwhile.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable

from zentoria_infra.lab.api.faults import Fault, internal
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.guests import check_lock
from zentoria_infra.lab.api.lxc import volumes
from zentoria_infra.lab.api.lxc.ops import running
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.runtime import Log, RuntimeFailure

RESERVED = ("current", "vzdump")
"""Names that a snapshot cannot have."""
_NOT_KEPT = frozenset({"snapstate", "snaptime", "lock", "description"})
"""Options that a snapshot does not take over from the configuration, beside ``unusedN``."""
_Failures = (Fault, RuntimeFailure, OSError)


def find(conf: GuestConf, name: str) -> dict[str, str]:
    """The configuration in a snapshot. Raises a 500 Fault when there is none of that name."""
    if name not in conf.snapshots:
        raise internal(f"snapshot '{name}' does not exist")
    return conf.snapshots[name]


def create(node: Node, vmid: int, name: str, description: str, log: Log) -> None:
    """Take a snapshot; a running container is frozen while its volumes are copied. Raises a Fault, RuntimeFailure."""
    points = _prepare(node, vmid, name, description, log)
    taken: list[str] = []
    live = running(node, vmid)
    try:
        try:
            if live:
                node.runtime.freeze(vmid)
            for key, volid in points.items():
                node.runtime.snapshot(volid, name)
                taken.append(key)
        finally:
            if live:
                node.runtime.thaw(vmid)
    except _Failures as failure:
        _undo(node, vmid, name, taken, log)
        raise internal(str(failure)) from failure
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        if conf.options.pop("lock", None) != "snapshot":
            raise internal("missing snapshot lock")
        if find(conf, name).pop("snapstate", None) != "prepare":
            raise internal("wrong snapshot state")
        conf.options["parent"] = name
        node.guests.save(vmid, conf)


def _prepare(node: Node, vmid: int, name: str, description: str, log: Log) -> dict[str, str]:
    """Write down what is about to be taken, and lock the container; gives volume ids by mount point."""
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        if conf.options.get("template") == "1":
            raise internal("you can't take a snapshot if it's a template")
        check_lock(conf)
        if name in conf.snapshots:
            raise internal(f"snapshot name '{name}' already used")
        if not volumes.all_have(node, conf.options, "snapshot"):
            raise internal("snapshot feature is not available")
        for other, snapshot in sorted(conf.snapshots.items()):
            if snapshot.get("parent") == name:
                log(f"deleting parent '{name}' reference from '{other}' to avoid bogus snapshot cycle.")
                del snapshot["parent"]
        conf.snapshots[name] = {**_kept(conf.options), "snapstate": "prepare", "snaptime": str(int(time.time()))}
        if description:
            conf.snapshots[name]["description"] = description
        conf.options["lock"] = "snapshot"
        node.guests.save(vmid, conf)
        return volumes.sources(volumes.mount_points(conf.options))


def _kept(options: dict[str, str]) -> dict[str, str]:
    return {key: text for key, text in options.items() if key not in _NOT_KEPT and not key.startswith("unused")}


def _undo(node: Node, vmid: int, name: str, taken: Iterable[str], log: Log) -> None:
    log("snapshot create failed: starting cleanup")
    try:
        _remove(node, vmid, name, "snapshot", set(taken), force=True, log=log)
    except _Failures as failure:
        log(str(failure))


def delete(node: Node, vmid: int, name: str, log: Log, *, force: bool) -> None:
    """Remove a snapshot; those that were taken after it get its parent.

    ``force`` removes it from the configuration though a volume's part of it cannot be removed; without, the container
    stays locked then. Raises a Fault or RuntimeFailure.
    """
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        find(conf, name)
        check_lock(conf)
        conf.options["lock"] = "snapshot-delete"
        node.guests.save(vmid, conf)
    _remove(node, vmid, name, "snapshot-delete", None, force=force, log=log)


def _remove(node: Node, vmid: int, name: str, lock: str, taken: set[str] | None, *, force: bool, log: Log) -> None:
    """Remove a snapshot of a container that is locked for it; ``taken`` are the mount points that are in it (all)."""

    def change(action: Callable[[GuestConf, dict[str, str]], None]) -> None:
        with node.locks.guest(vmid):
            conf = node.guests.edit(vmid)
            if conf.options.get("lock") != lock:
                raise internal(f"encountered invalid lock, expected '{lock}'")
            action(conf, find(conf, name))
            volumes.tidy(conf)
            node.guests.save(vmid, conf)

    def begin(conf: GuestConf, snapshot: dict[str, str]) -> None:
        if conf.options.get("template") == "1":
            raise internal("you can't delete a snapshot if vm is a template")
        snapshot["snapstate"] = "delete"

    change(begin)
    unused: list[str] = []
    points = volumes.sources(volumes.mount_points(find(node.guests.get(vmid), name)))
    for key, volid in points.items():
        if taken is None or key in taken:
            try:
                node.runtime.drop_snapshot(volid, name)
                unused.append(volid)
            except RuntimeFailure as failure:
                if not force:
                    raise
                log(str(failure))
        if not force:
            change(functools.partial(_let_go, key, volid))

    def end(conf: GuestConf, snapshot: dict[str, str]) -> None:
        for section in (conf.options, *conf.snapshots.values()):
            if section.get("parent") == name:
                del section["parent"]
                if "parent" in snapshot:
                    section["parent"] = snapshot["parent"]
        del conf.snapshots[name]
        del conf.options["lock"]
        for volid in unused:
            volumes.keep_unused(conf.options, volid)

    change(end)


def _let_go(key: str, volid: str, _conf: GuestConf, snapshot: dict[str, str]) -> None:
    del snapshot[key]
    volumes.keep_unused(snapshot, volid)


def rollback(node: Node, vmid: int, name: str, log: Log) -> None:
    """Put a container back to a snapshot, which stays; a running one is stopped at once.

    Volumes that the snapshot does not have become unused. Description and pending changes: the first stays as it is,
    the others are gone. Raises a Fault or RuntimeFailure; in the middle, the container stays locked.
    """
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        snapshot = _to_go_back_to(conf, name)
        points = volumes.sources(volumes.mount_points(snapshot))
        check_lock(conf)
        if running(node, vmid):
            node.runtime.stop(vmid, log)
        conf.options["lock"] = "rollback"
        node.guests.save(vmid, conf)
    for volid in points.values():
        node.runtime.rollback(volid, name)
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        snapshot = _to_go_back_to(conf, name)
        if running(node, vmid):
            raise internal(f"unable to rollback vm {vmid}: vm is running")
        if conf.options.get("lock") != "rollback":
            raise internal("got wrong lock")
        for volid in volumes.sources(volumes.mount_points(conf.options)).values():
            if volid not in points.values():
                volumes.keep_unused(conf.options, volid)
        stays = {key: text for key, text in conf.options.items() if key.startswith("unused") or key == "description"}
        conf.options = {**_kept(snapshot), **stays, "parent": name}
        conf.pending, conf.delete = {}, {}
        volumes.tidy(conf)
        node.guests.save(vmid, conf)


def _to_go_back_to(conf: GuestConf, name: str) -> dict[str, str]:
    if conf.options.get("template") == "1":
        raise internal("you can't rollback if vm is a template")
    snapshot = find(conf, name)
    if "snapstate" in snapshot:
        raise internal(f"unable to rollback to incomplete snapshot (snapstate = {snapshot['snapstate']})")
    return snapshot


def feature(node: Node, conf: GuestConf, wanted: str, name: str) -> bool:
    """Whether the container, or its snapshot ``name``, has the feature ``snapshot``, ``clone`` or ``copy``."""
    options = find(conf, name) if name else conf.options
    return volumes.all_have(node, options, wanted, snapshot=bool(name))


def rows(conf: GuestConf, *, live: bool) -> list[dict[str, object]]:
    """The list of snapshots, oldest first, and what is now as ``current``."""
    found: list[dict[str, object]] = []
    for name in sorted(conf.snapshots, key=lambda name: (int(conf.snapshots[name].get("snaptime", "0")), name)):
        snapshot = conf.snapshots[name]
        row: dict[str, object] = {
            "name": name,
            "snaptime": int(snapshot.get("snaptime", "0")),
            "description": snapshot.get("description", ""),
        }
        found.append({**row, **{key: snapshot[key] for key in ("parent", "snapstate") if key in snapshot}})
    current: dict[str, object] = {"name": "current", "description": "You are here!", "digest": conf.digest}
    current["running"] = int(live)
    if "parent" in conf.options:
        current["parent"] = conf.options["parent"]
    return [*found, current]
