"""``/nodes/{node}/lxc/{vmid}/move_volume``: a volume goes to another container, or is copied to another storage.

After ``PVE::API2::LXC``, move_volume.
"""

from __future__ import annotations

import contextlib
import dataclasses

from zentoria_infra.lab.api.faults import Fault, bad_params, internal, modified
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.guests import check_lock
from zentoria_infra.lab.api.lxc import options, volumes
from zentoria_infra.lab.api.lxc.changes import is_protected
from zentoria_infra.lab.api.lxc.ops import running
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.routing import Call, Routes, needs
from zentoria_infra.lab.api.schema import Param, opt
from zentoria_infra.lab.api.storages import has_feature
from zentoria_infra.lab.runtime import Log

routes = Routes()
_VOLUME = Param(enum=(*options.DISKS, *(f"unused{number}" for number in range(256))))
_DIGEST = Param(optional=True, max_length=40)


@dataclasses.dataclass(frozen=True)
class _Move:
    """A volume of one container that shall be another's."""

    vmid: int
    key: str
    target: int
    target_key: str


@routes.add(
    "POST",
    "/nodes/{node}/lxc/{vmid}/move_volume",
    needs("/vms/{vmid}", "VM.Config.Disk"),
    {
        "volume": _VOLUME,
        "storage": Param(optional=True, format="pve-storage-id"),
        "target-vmid": Param("integer", optional=True, minimum=100, maximum=999999999, format="pve-vmid"),
        "target-volume": opt(_VOLUME),
        "delete": Param("boolean", optional=True),
        "digest": _DIGEST,
        "target-digest": _DIGEST,
        "bwlimit": Param("number", optional=True, minimum=0),
    },
)
def _move_volume(call: Call) -> object:
    vmid, key = call.vmid, call.text("volume")
    if call.given("target-vmid") and call.given("storage"):
        text = "either set 'storage' or 'target-vmid', but not both"
        raise bad_params({"target-vmid": text, "storage": text})
    if call.given("storage"):
        return _to_storage(call, vmid, key)
    if call.given("target-vmid"):
        return _to_container(call, _Move(vmid, key, call.number("target-vmid"), call.text("target-volume", key)))
    text = "both 'storage' and 'target-vmid' missing, either needs to be set"
    raise bad_params({"target-vmid": text, "storage": text})


def _to_container(call: Call, move: _Move) -> str:
    node = call.node
    if not call.is_root:
        call.check(f"/vms/{move.target}", "VM.Config.Disk")
    if move.vmid == move.target:
        raise bad_params({"target-vmid": "must be different than source VMID to move disk to another container"})
    digests = call.text("digest"), call.text("target-digest")
    volume = volumes.split(_checked(node, move, digests)[2]["volume"])[0]
    call.check(f"/storage/{volume}", "Datastore.AllocateSpace")

    def work(log: Log) -> None:
        with contextlib.ExitStack() as held:
            # Proxmox locks source, then target; in one order for all, two moves cannot wait for each other.
            for vmid in sorted((move.vmid, move.target)):
                held.enter_context(node.locks.guest(vmid))
            _reassign(node, move, _checked(node, move, digests), log)

    subject = f"{move.vmid}-{move.key}>{move.target}-{move.target_key}"
    return node.tasks.start("move_volume", subject, call.who, work)


def _checked(node: Node, move: _Move, digests: tuple[str, str]) -> tuple[GuestConf, GuestConf, dict[str, str]]:
    """Both configurations, to change, and what the volume's option says. Raises a 500 Fault when it cannot move."""
    for vmid in (move.vmid, move.target):
        if not node.guests.exists(vmid):
            raise internal(f"could not find CT {vmid}")
    source, target = node.guests.edit(move.vmid), node.guests.edit(move.target)
    for conf in (source, target):
        check_lock(conf)
    if "1" in (source.options.get("template"), target.options.get("template")):
        raise internal("Can't move volumes from or to template CT")
    for vmid, conf, digest in ((move.vmid, source, digests[0]), (move.target, target, digests[1])):
        if digest and digest != conf.digest:
            raise internal(f"Container {vmid}: {modified().message}")
    if move.key not in source.options:
        raise internal(f"volume '{move.key}' for container '{move.vmid}' does not exist")
    if move.target_key in target.options:
        raise internal(f"Target volume key '{move.target_key}' is already in use for container '{move.target}'")
    parts = options.properties(move.key, source.options[move.key])
    if volumes.kind(parts["volume"]) != "volume":
        raise internal("Cannot move a bindmount or device mount to another container")
    if volumes.in_snapshot(source, parts["volume"]):
        raise internal("Cannot move volume used by a snapshot to another container")
    storage, name = volumes.split(parts["volume"])
    if not has_feature(node.storages.enabled(storage), "rename", name):
        raise internal("Storage does not support moving of this disk to another container")
    if running(node, move.vmid):
        raise internal("Cannot move in-use volume while the source CT is running - detach or shutdown first")
    return source, target, parts


def _reassign(node: Node, move: _Move, found: tuple[GuestConf, GuestConf, dict[str, str]], log: Log) -> None:
    source, target, parts = found
    log(f"moving volume '{move.key}' from container '{move.vmid}' to '{move.target}'")
    parts["volume"] = volumes.rename(node, parts["volume"], move.target)
    del source.options[move.key]
    log(f"removing volume '{move.key}' from container '{move.vmid}' config")
    node.guests.save(move.vmid, source)
    if move.target_key.startswith("unused"):
        target.options[move.target_key] = parts["volume"]
    else:
        if is_protected(target):
            raise internal(f"can't update CT {move.target} drive '{move.target_key}' - protection mode enabled")
        if move.target_key != "rootfs" and "mp" not in parts:
            raise internal("format error - mp: property is missing and it is not optional")
        value = options.join_properties(move.target_key, parts)
        # A running container takes a new mount point at its next start here, as for any other change.
        (target.pending if running(node, move.target) else target.options)[move.target_key] = value
    node.guests.save(move.target, target)
    log(f"target container '{move.target}' updated with '{move.target_key}'")


def _to_storage(call: Call, vmid: int, key: str) -> str:
    node, storage, delete = call.node, call.text("storage"), call.flag("delete")
    call.check(f"/storage/{storage}", "Datastore.AllocateSpace")
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        check_lock(conf)
        if running(node, vmid):
            raise internal("cannot move volumes of a running container")
        if key.startswith("unused"):
            raise internal(f"cannot move volume '{key}', only configured volumes can be moved to another storage")
        if key not in conf.options:
            raise Fault(500, f"volume '{key}' for container '{vmid}' does not exist")
        volid = options.properties(key, conf.options[key])["volume"]
        if delete and volumes.in_snapshot(conf, volid):
            raise internal("you can't move a volume with snapshots and delete the source")
        if call.given("digest") and call.text("digest") != conf.digest:
            raise modified()
        node.storages.enabled(storage)
        conf.options["lock"] = "disk"
        node.guests.save(vmid, conf)

    def work(log: Log) -> None:
        try:
            _copy_to_storage(node, vmid, key, storage, log, delete=delete)
        finally:
            with node.locks.guest(vmid):
                after = node.guests.edit(vmid)
                after.options.pop("lock", None)
                node.guests.save(vmid, after)

    return node.tasks.start("move_volume", str(vmid), call.who, work)


def _copy_to_storage(node: Node, vmid: int, key: str, storage: str, log: Log, *, delete: bool) -> None:
    """Copy a volume and use the copy; the old one is removed or kept as unused. The container's ``lock`` is ours."""
    before = node.guests.get(vmid)
    parts = options.properties(key, before.options[key])
    old = parts["volume"]
    volumes.split(old)  # a bind mount or a device is none
    new = volumes.copy(node, vmid, old, storage, volumes.named_in(before), log)
    try:
        with node.locks.guest(vmid):
            conf = node.guests.edit(vmid)
            if conf.digest != before.digest:
                raise modified()
            conf.options[key] = options.join_properties(key, {**parts, "volume": new})
            if not delete:
                volumes.keep_unused(conf.options, old)
            node.guests.save(vmid, conf)
    except Fault:
        volumes.free(node, new)
        raise
    if delete:
        volumes.free(node, old)
