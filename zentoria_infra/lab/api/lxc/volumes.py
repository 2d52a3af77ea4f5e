"""Volumes of containers: their names, their sizes, who uses them, making, copying and freeing them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping

from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.formats import VOLUME_ID
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.lxc import options as guestoptions
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.storages import TYPES, format_of, has_feature
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
    """Make a volume; gives its id and size. ``reserved`` are ids that the configuration already uses."""
    size = new_size(gib)
    with _making(node, vmid, storage, "raw" if size else "subvol", reserved) as volid:
        _log_formatting(node, volid, size, log)
        node.runtime.allocate(volid, size)
    return volid, size


def copy(node: Node, vmid: int, volid: str, storage: str, reserved: Iterable[str], log: Log) -> str:
    """Copy a volume of a stopped container to a storage; gives the new id. Raises a Fault or RuntimeFailure."""
    with _making(node, vmid, storage, format_of(volid), reserved) as new:
        _log_formatting(node, new, size_of(node, volid) or 0, log)
        node.runtime.copy(volid, new)
    return new


@contextlib.contextmanager
def _making(node: Node, vmid: int, storage: str, form: str, reserved: Iterable[str]) -> Iterator[str]:
    """Hold a storage, and give the id of a volume that may be made on it now."""
    entry = node.storages.enabled(storage)
    if entry["type"] not in TYPES or "rootdir" not in entry.get("content", "").split(","):
        raise internal(f"storage '{storage}' does not allow content type 'rootdir' (Container)")
    with node.locks.hold(f"/var/lock/pve-manager/pve-storage-{storage}", wait=60.0):
        number = _free_number(vmid, storage, {*node.runtime.volumes(), *reserved})
        prefix = "subvol" if form == "subvol" else "vm"
        yield f"{storage}:{vmid}/{prefix}-{vmid}-disk-{number}.{form}"


def _log_formatting(node: Node, volid: str, size: int, log: Log) -> None:
    if size and node.storages.enabled(split(volid)[0])["type"] == "dir":
        log(f"Formatting '{path_of(node, volid)}', fmt=raw size={size} preallocation=off")


def _free_number(vmid: int, storage: str, taken: Iterable[str]) -> int:
    names = [volid.removeprefix(f"{storage}:") for volid in taken if volid.startswith(f"{storage}:")]
    numbers = {int(match[2]) for name in names if (match := _OWNED.fullmatch(name)) and int(match[1]) == vmid}
    return next(count for count in range(len(numbers) + 1) if count not in numbers)


def path_of(node: Node, volid: str) -> str:
    """Where a volume is on the node, as Proxmox tells it. Raises a 500 Fault for an unknown storage."""
    storage, name = split(volid)
    entry = node.storages.enabled(storage)
    if entry["type"] == "btrfs" and format_of(name) == "raw":
        name = f"{name.removesuffix('.raw')}/disk.raw"
    return f"{entry.get('path', '')}/images/{name}"


def rename(node: Node, volid: str, vmid: int) -> str:
    """Make a volume another container's: its name says whose it is. Gives the new id; what is on it stays.

    Raises a 500 Fault for a storage that cannot.
    """
    with _making(node, vmid, split(volid)[0], format_of(volid), ()) as new:
        node.runtime.rename(volid, new)
    return new


def free(node: Node, volid: str) -> None:
    """Remove a volume with its snapshots."""
    if split(volid)[0] in node.storages.all():
        node.runtime.free(volid)


def size_of(node: Node, volid: str) -> int | None:
    """Bytes of a volume; None when there is none of that name."""
    return node.runtime.volumes().get(volid) if split(volid)[0] in node.storages.all() else None


def of_guest(node: Node, vmid: int) -> list[str]:
    """Ids of all volumes whose names say that they are a container's, on any storage."""
    return [volid for volid in node.runtime.volumes() if owner(volid.partition(":")[2]) == vmid]


def all_have(node: Node, options: Mapping[str, str], feature: str, *, snapshot: bool = False) -> bool:
    """Whether a feature is there for every volume of a configuration. A bind mount or a device has none."""
    for key, text in mount_points(options).items():
        volume = guestoptions.properties(key, text)["volume"]
        if kind(volume) != "volume":
            return False
        storage, name = split(volume)
        entry = node.storages.all().get(storage)
        if entry is None or not has_feature(entry, feature, name, snapshot=snapshot):
            return False
    return True


def mount_points(options: Mapping[str, str]) -> dict[str, str]:
    """The mount points of a configuration, rootfs and mpN: the root first, then by number."""
    found = [key for key in options if guestoptions.is_volume(key)]
    return {key: options[key] for key in sorted(found, key=lambda key: -1 if key == "rootfs" else int(key[2:]))}


def in_snapshot(conf: GuestConf, volid: str) -> bool:
    """Whether a snapshot of the container mounts a volume."""
    return any(volid in sources(mount_points(snapshot)).values() for snapshot in conf.snapshots.values())


def in_use(conf: GuestConf, volid: str) -> bool:
    """Whether the container mounts a volume now, after its next start, or in a snapshot."""
    current = (mount_points(conf.options), mount_points(conf.pending))
    return any(volid in sources(options).values() for options in current) or in_snapshot(conf, volid)


def sources(options: Mapping[str, str]) -> dict[str, str]:
    """Volume ids that a configuration uses, by option (rootfs, mpN, unusedN); bind mounts are left out."""
    found = {}
    for key, text in options.items():
        if guestoptions.is_volume(key) or (key.startswith("unused") and key[6:].isdigit()):
            volume = guestoptions.properties(key, text).get("volume", "")
            if kind(volume) == "volume" and not NEW_DISK.fullmatch(volume):
                found[key] = volume
    return found


def named_in(conf: GuestConf) -> list[str]:
    """Ids of all volumes that a configuration speaks of, in its snapshots too."""
    sections = (conf.options, conf.pending, *conf.snapshots.values())
    return [volid for options in sections for volid in sources(options).values()]


def place(node: Node, vmid: int, key: str, text: str, conf: GuestConf, log: Log) -> str:
    """A mount point's value with its volume made when it asks for a new one, and with its size.

    Raises RuntimeFailure or Fault when it cannot be made.
    """
    parts = guestoptions.properties(key, text)
    volume = parts["volume"]
    if match := NEW_DISK.fullmatch(volume):
        parts["volume"], size = allocate(node, vmid, match[1], match[2], named_in(conf), log)
        parts["size"] = guestoptions.format_size(size)
    elif kind(volume) == "volume" and (known := size_of(node, volume)) is not None:
        parts["size"] = guestoptions.format_size(known)
    return guestoptions.join_properties(key, parts)


def tidy(conf: GuestConf) -> None:
    """Drop ``unusedN`` of volumes that are mounted: Proxmox does at every write of the file."""
    mounted = set(sources(mount_points(conf.options)).values())
    for key, volid in sources(conf.options).items():
        if key.startswith("unused") and volid in mounted:
            del conf.options[key]


def keep_unused(options: dict[str, str], volid: str) -> None:
    """Have a volume as ``unusedN``, at the lowest free number, unless it is there already."""
    taken = {key: value for key, value in sources(options).items() if key.startswith("unused")}
    if volid not in taken.values():
        number = next((count for count in range(256) if f"unused{count}" not in taken), None)
        if number is None:
            raise internal("Too many unused volumes - please delete them first.")
        options[f"unused{number}"] = volid


def abandon(conf: GuestConf, vmid: int, volid: str) -> None:
    """Keep a volume that no mount point uses any more as ``unusedN``; another guest's volume is just let go."""
    if owner(split(volid)[1]) != vmid or volid in sources(conf.options).values():
        return
    keep_unused(conf.options, volid)
