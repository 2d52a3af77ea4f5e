"""The volumes of the lab's directory storage, as files: ``images/<vmid>/<name>``."""

from __future__ import annotations

import os
from pathlib import Path


def volume_sizes(images: Path) -> dict[str, int]:
    """All volumes, as ``404/vm-404-disk-0.raw``, and their sizes in bytes; a directory counts as 0.

    Volumes may vanish while we look: other tasks remove them.
    """
    found: dict[str, int] = {}
    for folder in _entries(images):
        for entry in _entries(Path(folder.path)) if folder.is_dir() else ():
            try:
                size = 0 if entry.is_dir() else entry.stat().st_size
            except FileNotFoundError:
                continue
            found[f"{folder.name}/{entry.name}"] = size
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
