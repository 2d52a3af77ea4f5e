"""Prepared templates of labs: kept once a machine by their names, which hold the hash of what is in them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc import template
from zentoria_infra.lab.lxc.rootfs import locked

PATTERN = "zentoria-*.tar.zst"
KEPT = 3
"""How many a machine keeps: each is some 100 MiB, and inventories change."""


def store(layout: LabLayout) -> Path:
    """Where a lab has its templates."""
    return layout.storage / "template/cache"


def sizes(layout: LabLayout) -> dict[str, int]:
    """The templates of a lab as its API lists them: sizes in bytes by volume id."""
    return {f"local:vztmpl/{file.name}": file.stat().st_size for file in store(layout).glob("*.tar.*")}


def provide(layout: LabLayout, name: str, build: Callable[[Path], None] | None) -> bool:
    """Have a prepared template in a lab, from the machine's cache; built first when that has none.

    Safe against a second lab that wants the same: it waits for the first one.

    Args:
        layout: of the lab.
        name: of the file.
        build: writes it; None: it is not built.

    Returns:
        Whether the lab has it now.
    """
    target = store(layout) / name
    if target.exists():
        return True
    cache = template.default_cache()
    kept = cache / name
    with locked(cache / f".{name}.lock"):
        if not kept.exists():
            if build is None:
                return False
            build(kept)
            _prune(cache, kept)
        partial = target.with_name(f".{name}.partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(kept, partial)
        except OSError:  # another file system
            shutil.copy2(kept, partial)
    partial.replace(target)
    os.utime(kept)
    return True


def _prune(cache: Path, newest: Path) -> None:
    """Remove those that nobody has used for the longest time."""
    others = sorted((one for one in cache.glob(PATTERN) if one != newest), key=lambda one: one.stat().st_mtime)
    for one in others[: max(0, len(others) + 1 - KEPT)]:
        for file in (one, cache / f".{one.name}.lock"):
            with contextlib.suppress(OSError):
                file.unlink()
