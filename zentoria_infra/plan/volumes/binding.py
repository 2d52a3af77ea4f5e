"""Which mount point is which volume of the inventory, and what that takes out of sight. Pure.

A volume is the mount point that the notes of its container give its name. Where they do not, as in a container that is
older than that line, it is the one that has its path. Its place in a file says nothing. A volume that has no mount
point yet gets a free number: Proxmox mounts by number (``PVE::LXC::Config::valid_volume_keys``), so the number of a
path is greater than those of the paths that it lies in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from zentoria_infra.plan.model import ownership
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.observed import ObservedContainer, World
from zentoria_infra.plan.model.values import parse_properties

MOUNT = re.compile(r"mp(\d+)")
MOST = 256
"""How many mount points a container can have (``$MAX_MOUNT_POINTS``)."""

_UNALLOCATED = re.compile(r"[^:/]+:\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True)
class MountPoint:
    """One ``mpN`` as it is there."""

    key: str
    volume: str
    path: str
    """Where it is mounted, without a slash at its end."""
    size: str

    @property
    def number(self) -> int:
        """Its place in the order of mounting."""
        return int(self.key.removeprefix("mp"))

    @property
    def managed(self) -> bool:
        """Whether it is a volume of a storage, and no directory or device of the node."""
        return ":" in self.volume and not self.volume.startswith("/")

    @property
    def made(self) -> bool:
        """Whether it is there; one that could not be added to a running container is only asked for (``local:8``)."""
        return not is_asked_for(self.volume)

    def __str__(self) -> str:
        """Its key with where it is and how large, as ``mp0 (/var/lib/redis, 16G)``."""
        return f"{self.key} ({', '.join(filter(None, (self.path or '/', self.size)))})"


def is_asked_for(volume: str) -> bool:
    """Whether a volume is one that is asked for, ``storage:GiB``, and not one that was made."""
    return _UNALLOCATED.fullmatch(volume) is not None


def mount_points(config: Mapping[str, str]) -> dict[str, MountPoint]:
    """The mount points of a configuration by key, in the order in which they are mounted."""
    found = []
    for key in (key for key in config if MOUNT.fullmatch(key)):
        values = parse_properties(config[key], "volume")
        path = _bare(values.get("mp", ""))
        found.append(MountPoint(key, values.get("volume", ""), path, values.get("size", "")))
    return {one.key: one for one in sorted(found, key=lambda one: one.number)}


def bound(desired: DesiredContainer, world: World) -> DesiredContainer:
    """A container with its volumes at their mount points: those that it has, or that are parked for it."""
    return bound_to(desired, world.containers.get(desired.vmid), world.parked.get(desired.vmid))


def bound_to(
    desired: DesiredContainer, observed: ObservedContainer | None, parked: ObservedContainer | None = None
) -> DesiredContainer:
    """A container with its volumes at their mount points. Doing it twice changes nothing more.

    Args:
        desired: with volumes that may be at any mount points.
        observed: what is there; None for nothing.
        parked: where its data is, when it is replaced; None for nowhere.

    Returns:
        The container; its notes name the volumes.
    """
    config: dict[str, str] = {}
    names: dict[str, str] = {}
    for one in (parked, observed):
        if one is not None and one.kind == "lxc":
            # What waits for a restart to go is still there, at its number.
            config |= {**one.config, **one.in_force}
            names |= ownership.volumes(one.config.get("description", ""))
    return placed(desired, mount_points(config), names)


def placed(desired: DesiredContainer, there: Mapping[str, MountPoint], names: Mapping[str, str]) -> DesiredContainer:
    """A container with its volumes at mount points.

    Args:
        desired: the container.
        there: mount points that there are.
        names: keys of mount points by the names of volumes, as the notes have them.
    """
    keys = _bind(desired.volumes, there, names)
    volumes = tuple(dataclasses.replace(one, key=key) for one, key in zip(desired.volumes, keys, strict=True))
    where = {key: place for key, place in desired.where.items() if not MOUNT.fullmatch(key)}
    for old, new in zip(desired.volumes, volumes, strict=True):
        place = desired.where.get(f"volume:{old.name}") or desired.where.get(old.key, "")
        where |= {new.key: place} if place else {}
    options = dict(desired.options)
    if "description" in options:
        named = {one.name: one.key for one in volumes if one.name}
        options["description"] = ownership.with_volumes(options["description"], named)
    return dataclasses.replace(desired, volumes=volumes, where=where, options=options)


def _bind(
    volumes: Sequence[DesiredVolume], there: Mapping[str, MountPoint], names: Mapping[str, str]
) -> tuple[str, ...]:
    """The key of each volume."""
    free = {key: one for key, one in there.items() if one.managed}
    keys: dict[int, str] = {}
    for place, one in enumerate(volumes):
        if (key := names.get(one.name, "")) in free:
            keys[place] = free.pop(key).key
    for place, one in enumerate(volumes):
        # Of two at one path, the later one is seen.
        same = [key for key, seen in free.items() if seen.path == _bare(one.path)]
        if place not in keys and same:
            keys[place] = free.pop(same[-1]).key
    numbers = {volumes[place].path: int(key.removeprefix("mp")) for place, key in keys.items()}
    taken = {one.number for one in there.values()}
    new = [place for place in range(len(volumes)) if place not in keys]

    def pressing(place: int) -> tuple[int, int, int]:
        """What must come before something that is there first, then what others lie in, then as they are written."""
        path = volumes[place].path
        return _below(path, numbers), sum(_inside(path, other.path) for other in volumes), place

    for place in sorted(new, key=pressing):
        path = volumes[place].path
        lowest = max((number for outer, number in numbers.items() if _inside(path, outer)), default=-1) + 1
        fitting = (number for number in range(lowest, _below(path, numbers)) if number not in taken)
        anything = (number for number in range(2 * MOST) if number not in taken)
        number = next(fitting, None)
        number = next(anything) if number is None else number  # :func:`misplaced` tells
        numbers[path] = number
        taken.add(number)
        keys[place] = f"mp{number}"
    return tuple(keys[place] for place in range(len(volumes)))


def _below(path: str, numbers: Mapping[str, int]) -> int:
    """The number below which a path must be mounted: the least of the paths that lie in it."""
    return min((number for inner, number in numbers.items() if _inside(inner, path)), default=MOST)


def misplaced(desired: DesiredContainer) -> Iterator[str]:
    """What could not be seen since a later mount point hides it, in words: Proxmox would mount them so.

    Args:
        desired: with its volumes at their mount points.
    """
    for inner in desired.volumes:
        for outer in desired.volumes:
            if _inside(inner.path, outer.path) and _number(inner.key) < _number(outer.key):
                later = max(_number(one.key) for one in desired.volumes) + 1
                yield (
                    f"container {desired.vmid} ({desired.name}): volume {_said(outer)} would hide volume "
                    f"{_said(inner)}, for Proxmox mounts by number and {inner.path} lies in {outer.path}. Give one of "
                    f"them another path, or make the inner one a later mount point while the container is stopped: "
                    f"`pct set {desired.vmid} --delete {inner.key}`, and then `pct set {desired.vmid} --mp{later} "
                    f"VOLUME,mp={inner.path}` with the volume that was {inner.key}"
                )
        if _number(inner.key) >= MOST:
            yield f"container {desired.vmid} ({desired.name}): there is no free mount point for {_said(inner)}"


def out_of_sight(desired: DesiredContainer, there: Mapping[str, str], names: Mapping[str, str]) -> Mapping[str, str]:
    """What the changes of mount points take out of sight, in words by key.

    Args:
        desired: with its volumes at their mount points.
        there: the configuration that holds now.
        names: keys of mount points by the names of volumes, as the notes have them now.
    """
    seen = {key: one for key, one in mount_points(there).items() if one.made}
    wanted = {one.key: one for one in desired.volumes}
    unused = [key for key in sorted(there) if key.startswith("unused")]
    found: dict[str, list[str]] = {}
    for key, one in seen.items():
        if key not in wanted:
            stays = f"its volume ({one.volume}) stays, as an unused one" if one.managed else "it stays on the node"
            found.setdefault(key, []).append(f"{one} is taken away, and what is on it with it; {stays}")
        elif one.path != _bare(wanted[key].path):
            found.setdefault(key, []).append(
                f"volume {_named(wanted[key])}{one} moves to {wanted[key].path}: what is on it is not at "
                f"{one.path or '/'} any more"
            )
    for volume in desired.volumes:
        if volume.key not in seen and (volume.name in names or unused):
            # What was dropped and is wanted again, as when somebody takes a change of the inventory back, is there.
            why = [f"it was {names[volume.name]}, which is gone"] if volume.name in names else []
            if unused:
                why.append(f"the container has {', '.join(f'{key} ({there[key]})' for key in unused)}, which may be it")
                why.append(f"`pct set {desired.vmid} --{volume.key} VOLUME,mp={volume.path}` puts a volume back")
            text = f"volume {_said(volume)} is made anew, and empty: {'; '.join(why)}"
            found.setdefault(volume.key, []).append(text)
        if volume.key in seen and seen[volume.key].path == _bare(volume.path):
            continue
        staying = (one for one in seen.values() if one.key in wanted and one.path == _bare(wanted[one.key].path))
        for outer in staying:
            if outer.path and _inside(volume.path, outer.path):
                found.setdefault(volume.key, []).append(
                    f"volume {_said(volume)} hides what {outer} has at {volume.path}"
                )
    return {key: "; ".join(texts) for key, texts in found.items()}


def _number(key: str) -> int:
    return int(key.removeprefix("mp"))


def _named(volume: DesiredVolume) -> str:
    return f"'{volume.name}', " if volume.name else ""


def _said(volume: DesiredVolume) -> str:
    return f"{_named(volume)}{volume.key} ({volume.path})"


def _bare(path: str) -> str:
    return path.rstrip("/")


def _inside(path: str, outer: str) -> bool:
    """Whether a path lies in another one, and is not the same."""
    return _bare(path).startswith(f"{_bare(outer)}/")
