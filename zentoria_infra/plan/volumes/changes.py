"""What differs of a container's root file system and mount points. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zentoria_infra.plan.model.change import AttributeChange, Effect, Via
from zentoria_infra.plan.model.desired import DesiredContainer, DesiredVolume
from zentoria_infra.plan.model.values import GIB, format_properties, parse_properties, parse_size, truth, untrue
from zentoria_infra.plan.volumes.binding import MOUNT, is_asked_for

_OFF = frozenset({"backup", "keepattrs", "quota", "ro", "shared"})
"""Flags of a mount point that are off where they are not there (``mp[n]``); ``acl`` is then as the storage has it."""


def volume_changes(desired: DesiredContainer, there: Mapping[str, str]) -> Iterator[AttributeChange]:
    """Yield every difference of volumes. All of a mount point is compared: an option that nobody asked for is one.

    Args:
        desired: with its volumes at their mount points.
        there: the configuration.
    """
    for volume in (desired.rootfs, *desired.volumes):
        yield from _volume(volume, there.get(volume.key, ""), desired.said_at(volume.key))
    ours = {volume.key for volume in desired.volumes}
    for key, seen in there.items():
        if MOUNT.fullmatch(key) and key not in ours:
            # Proxmox keeps the volume as unusedN: nothing on it is lost, and nobody finds it.
            yield AttributeChange(key, seen, "", Effect.RESTART, where=desired.said_at(key))


def _volume(volume: DesiredVolume, seen: str, where: str) -> Iterator[AttributeChange]:
    parsed = parse_properties(seen, "volume")
    if not seen:
        # A running container would get it over what its services have open, or at its next start: so it is stopped.
        yield AttributeChange(volume.key, "", volume_text(volume), Effect.RESTART, where=where)
        return
    if is_asked_for(parsed.get("volume", "")):
        # It could not be added while the container ran: it is pending, and the restart makes it.
        if _options(parsed) != _wanted(volume):
            yield AttributeChange(volume.key, seen, volume_text(volume), Effect.RESTART, where=where)
        return
    storage = parsed.get("volume", "").partition(":")[0]
    if storage != volume.storage and volume.key == "rootfs":
        yield AttributeChange(volume.key, seen, volume_text(volume), Effect.REPLACE, where=where)
        return
    if storage != volume.storage:
        there_then = format_properties({**parsed, "volume": volume.storage}, "volume")
        yield AttributeChange(volume.key, seen, there_then, Effect.RESTART, Via.MOVE, volume.storage, where)
    if parse_size(parsed.get("size", "0")) < volume.size:
        grown = f"{volume.size // GIB}G"
        yield AttributeChange(volume.key, parsed.get("size", "?"), grown, via=Via.RESIZE, value=grown, where=where)
    if _options(parsed) != _wanted(volume):
        kept = {key: value for key, value in parsed.items() if key in ("volume", "mp", "size", "backup")}
        kept |= {"mp": volume.path, "backup": str(int(volume.backup))} if volume.path else {}
        yield AttributeChange(volume.key, seen, format_properties(kept, "volume"), Effect.RESTART, where=where)


def _options(parsed: Mapping[str, str]) -> dict[str, str]:
    """What a volume's options say, without those that say what holds anyway."""
    found = {key: value for key, value in parsed.items() if key not in ("volume", "size") and value}
    found |= {"mp": found["mp"].rstrip("/")} if "mp" in found else {}
    found |= {key: "1" for key in _OFF & found.keys() if truth(found[key])}
    if truth(found.get("replicate", "0")):
        del found["replicate"]
    return {key: value for key, value in found.items() if key not in _OFF or not untrue(value)}


def _wanted(volume: DesiredVolume) -> dict[str, str]:
    if not volume.path:
        return {}
    return {"mp": volume.path.rstrip("/"), **({"backup": "1"} if volume.backup else {})}


def with_volume_of_now(change: AttributeChange, there: Mapping[str, str]) -> str:
    """The value to send for a change of a mount point: what changes is how its volume is mounted, never which it is.

    A volume that was moved to another storage or container and back has another name than when the change was planned,
    and the old name may be another volume's by now.

    Args:
        change: of any option.
        there: the configuration as it is now.
    """
    wanted, now = (parse_properties(text, "volume") for text in (change.sent, there.get(change.key, "")))
    volume = now.get("volume", "")
    if not MOUNT.fullmatch(change.key) or not volume or is_asked_for(volume) or is_asked_for(wanted.get("volume", "")):
        return change.sent
    size = {"size": now["size"]} if "size" in now else {}
    return format_properties({**wanted, "volume": volume, **size}, "volume")


def volume_text(volume: DesiredVolume) -> str:
    """The value that allocates a volume: ``storage:GiB`` with its mount point."""
    values = {"volume": f"{volume.storage}:{volume.size // GIB}"}
    if volume.path:
        values |= {"mp": volume.path, "backup": "1" if volume.backup else "0"}
    return format_properties(values, "volume")
