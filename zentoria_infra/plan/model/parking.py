"""Where the data of a container waits while it is replaced: on a spare container of ours that never starts.

Proxmox hands a volume from one stopped container to another (``move_volume``): it is renamed, not copied. So before a
container is destroyed, its data volumes are parked on another one, and afterwards they come back to their places. Rules
of the firewall that others have made are copied there too, since they go with the container.

The VMID of a parking container is the first one above those of the inventory that is free. Its description says for
whom it holds what; by that any later run knows it, and finishes what a killed run has left.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from zentoria_infra.plan.model.values import parse_properties

if TYPE_CHECKING:
    from zentoria_infra.firewall.change.steps import Step

GIB = 2
"""Size of a parking container's root file system, in GiB: a template must fit on it, nothing else is put there."""

_HOSTNAME = re.compile(r"zentoria-parking-(\d+)")
_MARK = re.compile(r"^zentoria-parking: (?P<id>[a-z0-9-]+/\d+)\s*$", re.MULTILINE)
_KEY = re.compile(r"(mp|unused)\d+")
_OWNED = re.compile(r"(?:vm|subvol|base|basevol)-(\d+)-disk-")
_UNALLOCATED = re.compile(r"[^:/]+:\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True)
class Parking:
    """The parking container of one container.

    Args:
        vmid: its own VMID; 0 where no free one is known, as offline.
        exists: a run that did not end has made it.
        park: keys of the volumes that go there, as ``mp0``.
        back: keys of the volumes that come back from there: those, and what is there already.
        firewall: what is to be copied to its firewall, to be written again.
        storages: storage by key.
    """

    vmid: int
    exists: bool = False
    park: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    firewall: tuple[Step, ...] = ()
    storages: Mapping[str, str] = dataclasses.field(default_factory=dict)


def hostname(vmid: int) -> str:
    """Name of the parking container of a container."""
    return f"zentoria-parking-{vmid}"


def holds_for(name: str) -> int:
    """The container that a parking container of that name is for; 0 where the name is none of those."""
    found = _HOSTNAME.fullmatch(name)
    return int(found[1]) if found else 0


def description(name: str, site_id: str, vmid: int, keys: Mapping[str, str]) -> str:
    """Text of a parking container's description.

    Args:
        name: of the container that is replaced.
        site_id: of its site.
        vmid: of it.
        keys: of its mount points by the names of its volumes: it is by them that they are known when they come back.
    """
    said = "".join(f" {volume}={keys[volume]}" for volume in sorted(keys))
    volumes = f"zentoria-volumes:{said}\n" if said else ""
    return (
        f"Holds the data volumes of container {vmid} ({name}) while Zentoria replaces it. "
        "Do not destroy it: `zentoria up` brings them back, and removes it then.\n\n"
        f"{volumes}zentoria-parking: {site_id}/{vmid}"
    )


def is_for(text: str, site_id: str, vmid: int) -> bool:
    """Whether a description says that its container holds volumes of this one."""
    found = _MARK.search(text)
    return found is not None and found["id"] == f"{site_id}/{vmid}"


def for_whom(text: str, site_id: str) -> int:
    """The container that a parking container of a site is for, by its description; 0 where it is none."""
    found = _MARK.search(text)
    site, _, vmid = found["id"].rpartition("/") if found is not None else ("", "", "")
    return int(vmid) if vmid and site == site_id else 0


def carries_mark(text: str, site_id: str = "") -> bool:
    """Whether a container is a parking container: of one site, or of any where none is named."""
    found = _MARK.search(text)
    return found is not None and site_id in ("", found["id"].rpartition("/")[0])


def data_volumes(config: Mapping[str, str]) -> dict[str, str]:
    """Volumes besides the root file system, by key in order: mount points and unused ones.

    Bind mounts are left out, since nothing of them goes with a container; so are volumes that were never made.
    """
    found = {}
    for key in sorted(config, key=lambda key: (key.rstrip("0123456789"), len(key), key)):
        volume = parse_properties(config[key], "volume").get("volume", "")
        if _KEY.fullmatch(key) and ":" in volume and not volume.startswith("/") and not _UNALLOCATED.fullmatch(volume):
            found[key] = volume
    return found


def destroyed(config: Mapping[str, str], vmid: int) -> tuple[str, ...]:
    """All volumes that go when a container is destroyed, in words, as ``mp0 (/var/lib/postgresql, 20G)``."""
    found = []
    for key, volume in {"rootfs": "", **data_volumes(config)}.items():
        values = parse_properties(config.get(key, ""), "volume")
        said = ", ".join(values[name] for name in ("mp", "size") if values.get(name))
        if not another_owner(volume, vmid):
            found.append(f"{key} ({said})" if said else key)
    return tuple(found)


def another_owner(volume: str, vmid: int) -> int:
    """The container that a volume belongs to by its name, where that is not this one; else 0."""
    found = _OWNED.search(volume)
    return int(found[1]) if found and int(found[1]) != vmid else 0


def words(config: Mapping[str, str], keys: Iterable[str]) -> str:
    """Volumes in words, as ``mp0 (/var/lib/postgresql)``."""
    found = ((key, parse_properties(config.get(key, ""), "volume").get("mp", "")) for key in keys)
    return ", ".join(f"{key} ({path})" if path else key for key, path in found)
