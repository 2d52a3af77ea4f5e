"""The host's mounts: what is mounted where, mounting, and unmounting all below a folder."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.runtime import RuntimeFailure


@dataclasses.dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    target: Path
    kind: str
    source: str


def table() -> list[Mount]:
    """All mounts, in the order they were made."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.rstrip("\n").partition(" - ")
            kind, source = right.split(" ")[:2]
            found.append(Mount(Path(_plain(left.split(" ")[4])), kind, _plain(source)))
    return found


def mounted(target: Path) -> bool:
    """Whether something is mounted at exactly this folder."""
    return any(mount.target == target for mount in table())


def below(folder: Path) -> list[Mount]:
    """Mounts at the folder and below, the last made first: the order to unmount them."""
    return [mount for mount in reversed(table()) if mount.target == folder or folder in mount.target.parents]


def unmount(target: Path, patience: float = 2.0) -> None:
    """Unmount what is at ``target``; nothing there is no error.

    A mount that stays busy is detached: it leaves the tree now and ends when its last user does. A starting
    guest holds a copy of all mounts for a moment, so busy is common and short.
    """
    end = time.monotonic() + patience
    while mounted(target):
        try:
            run(["umount", target])
        except RuntimeFailure:
            if time.monotonic() > end:
                run(["umount", "--lazy", target])
            else:
                time.sleep(0.05)


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below a folder."""
    for mount in below(folder):
        unmount(mount.target)


def _plain(text: str) -> str:
    """Undo the octal escapes of the kernel: space, tab, newline, backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
