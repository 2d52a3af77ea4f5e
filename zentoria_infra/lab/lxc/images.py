"""The volumes of the node's storages, as files: ``images/<vmid>/<name>`` below each storage's folder.

A snapshot is a copy beside its volume, ``<name>@<snapshot>``: the name that Proxmox's btrfs storages give it. Copies
share their blocks where the machine's file system can (btrfs, XFS) and are sparse everywhere.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.runtime import RuntimeFailure

_VOLUME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]):(\d+/[A-Za-z0-9][A-Za-z0-9_.-]*)")


def locate(layout: LabLayout, volume: str) -> Path:
    """The file or folder of a volume as ``local:404/vm-404-disk-0.raw``.

    Raises:
        RuntimeFailure: it is no name of a volume.
    """
    match = _VOLUME.fullmatch(volume)
    if not match:
        raise RuntimeFailure(f"unable to parse directory volume name '{volume.partition(':')[2] or volume}'")
    return layout.images(match[1]) / match[2]


def snapshot_of(path: Path, name: str) -> Path:
    """Where the snapshot ``name`` of what is at ``path`` lies."""
    return path.with_name(f"{path.name}@{name}")


def belongings(path: Path) -> list[Path]:
    """What goes with the volume at ``path``: its snapshots, and what a copy left that was cut off."""
    parts = {f".{path.name}.new", f".{path.name}.old"}
    return [
        Path(entry.path)
        for entry in _entries(path.parent)
        if entry.name.removeprefix(".").startswith(f"{path.name}@") or entry.name in parts
    ]


def volume_sizes(layout: LabLayout) -> dict[str, int]:
    """All volumes, as ``local:404/vm-404-disk-0.raw``, and their sizes in bytes; a directory counts as 0.

    Volumes may vanish while we look: other tasks remove them.
    """
    found: dict[str, int] = {}
    for storage in layout.storage_names():
        for folder in _entries(layout.images(storage)):
            for entry in _entries(Path(folder.path)) if folder.is_dir() else ():
                if "@" in entry.name or entry.name.startswith("."):
                    continue
                try:
                    size = 0 if entry.is_dir() else entry.stat().st_size
                except FileNotFoundError:
                    continue
                found[f"{storage}:{folder.name}/{entry.name}"] = size
    return found


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, with owners, modes and holes; ``target`` is there whole or not at all.

    Raises:
        RuntimeFailure: it is not there, the target is, or the copy failed.
    """
    if target.exists():
        raise RuntimeFailure(f"'{target}' already exists")
    _fill(source, target, lambda partial: partial.rename(target))


def put_back(source: Path, target: Path) -> None:
    """Replace ``target`` by a copy of ``source``.

    Raises:
        RuntimeFailure: ``source`` is not there, or the copy failed; ``target`` is as it was.
    """

    def replace(partial: Path) -> None:
        if target.is_dir():
            old = target.with_name(f".{target.name}.old")
            remove(old)
            target.rename(old)
            partial.rename(target)
            remove(old)
        else:
            partial.replace(target)

    _fill(source, target, replace)


def _fill(source: Path, target: Path, into_place: Callable[[Path], object]) -> None:
    if not source.exists():
        raise RuntimeFailure(f"'{source}' does not exist")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.new")
    remove(partial)
    try:
        run(["cp", "--archive", "--reflink=auto", "--sparse=always", "--", source, partial], timeout=None)
        into_place(partial)
    except (OSError, RuntimeFailure) as failure:
        remove(partial)
        raise RuntimeFailure(str(failure)) from failure


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing there is no error."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
