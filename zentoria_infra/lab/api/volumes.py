"""Volumes of containers: their names, their sizes, making and freeing them on the ``local`` storage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from zentoria_infra.lab.api import guestoptions
from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.formats import VOLUME_ID
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.storages import LOCAL
from zentoria_infra.lab.runtime import Log

NEW_DISK = re.compile(r"([^:\s/]+):(\d+(?:\.\d+)?)")
"""``storage:size`` in GiB: allocate a new volume."""
_OWNED = re.compile(r"(\d+)/(?:vm|subvol|base)-\d+-disk-(\d+)\.\w+")


def kind(volume: str) -> str:
    """What a mount point's source is: ``volume``, ``device`` or ``bind``."""
    if volume.startswith("/dev/"):
        return "device"
    return "bind" if volume.startswith("/") else "volume"


def split(volid: str) -> tuple[str, str]:
    """Storage and name of a volume id. Raises a 500 Fault."""
    match = VOLUME_ID.fullmatch(volid)
    if not match:
        raise internal(f"unable to parse volume ID '{volid}'")
    return match[1], match[2]


def owner(name: str) -> int | None:
    """The container that a volume's name says it belongs to."""
    match = _OWNED.fullmatch(name)
    return int(match[1]) if match else None


def new_size(gib: str) -> int:
    """Bytes of a new volume, as Proxmox counts: whole MiB, rounded down."""
    return int(float(gib) * 1024) << 20


def allocate(node: Node, vmid: int, storage: str, gib: str, reserved: Iterable[str], log: Log) -> tuple[str, int]:
    """Make a volume; gives its id and size. ``reserved`` are names that the configuration already uses."""
    if storage != LOCAL:
        raise internal(f"storage '{storage}' holds no containers in this lab, only '{LOCAL}' does")
    size = new_size(gib)
    with node.locks.hold(f"/var/lock/pve-manager/pve-storage-{storage}", wait=60.0):
        number = _free_number(vmid, {*node.runtime.volumes(), *reserved})
        kind_name, suffix = ("vm", "raw") if size else ("subvol", "subvol")
        name = f"{vmid}/{kind_name}-{vmid}-disk-{number}.{suffix}"
        path = node.layout.storage / "images" / name
        if size:
            log(f"Formatting '{path}', fmt=raw size={size} preallocation=off")
        node.runtime.allocate(name, size)
    return f"{storage}:{name}", size


def _free_number(vmid: int, taken: Iterable[str]) -> int:
    numbers = {int(match[2]) for name in taken if (match := _OWNED.fullmatch(name)) and int(match[1]) == vmid}
    return next(count for count in range(len(numbers) + 1) if count not in numbers)


def rename(node: Node, volid: str, vmid: int) -> str:
    """Make a volume another container's: its name says whose it is. Gives the new id; what is on it stays.

    Raises a 500 Fault for a storage that cannot.
    """
    storage, name = split(volid)
    if storage != LOCAL:
        raise internal("Storage does not support moving of this disk to another container")
    with node.locks.hold(f"/var/lock/pve-manager/pve-storage-{storage}", wait=60.0):
        number = _free_number(vmid, node.runtime.volumes())
        kind_name, suffix = ("subvol", "subvol") if name.endswith(".subvol") else ("vm", "raw")
        new = f"{vmid}/{kind_name}-{vmid}-disk-{number}.{suffix}"
        node.runtime.rename(name, new)
    return f"{storage}:{new}"


def free(node: Node, volid: str) -> None:
    """Remove a volume."""
    storage, name = split(volid)
    if storage == LOCAL:
        node.runtime.free(name)


def size_of(node: Node, volid: str) -> int | None:
    """Bytes of a volume; None when there is none of that name."""
    storage, name = split(volid)
    return node.runtime.volumes().get(name) if storage == LOCAL else None


def sources(options: Mapping[str, str]) -> dict[str, str]:
    """Volume ids that a configuration uses, by option (rootfs, mpN, unusedN); bind mounts are left out."""
    found = {}
    for key, text in options.items():
        if guestoptions.is_volume(key) or (key.startswith("unused") and key[6:].isdigit()):
            volume = guestoptions.properties(key, text).get("volume", "")
            if kind(volume) == "volume" and not NEW_DISK.fullmatch(volume):
                found[key] = volume
    return found


def names_in(conf: GuestConf) -> list[str]:
    """Names (without the storage) of all volumes that a configuration speaks of."""
    found = [*sources(conf.options).values(), *sources(conf.pending).values()]
    return [split(volid)[1] for volid in found]


def place(node: Node, vmid: int, key: str, text: str, conf: GuestConf, log: Log) -> str:
    """A mount point's value with its volume made when it asks for a new one, and with its size.

    Raises RuntimeFailure or Fault when it cannot be made.
    """
    parts = guestoptions.properties(key, text)
    volume = parts["volume"]
    if match := NEW_DISK.fullmatch(volume):
        parts["volume"], size = allocate(node, vmid, match[1], match[2], names_in(conf), log)
        parts["size"] = guestoptions.format_size(size)
    elif kind(volume) == "volume" and (known := size_of(node, volume)) is not None:
        parts["size"] = guestoptions.format_size(known)
    return guestoptions.join_properties(key, parts)


def abandon(conf: GuestConf, vmid: int, volid: str) -> None:
    """Keep a volume that no mount point uses any more as ``unusedN``; another guest's volume is just let go."""
    if owner(split(volid)[1]) != vmid or volid in sources(conf.options).values():
        return
    number = next(count for count in range(256) if f"unused{count}" not in conf.options)
    conf.options[f"unused{number}"] = volid
