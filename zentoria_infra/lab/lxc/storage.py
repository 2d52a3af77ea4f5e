"""The storage's part of the runtime: templates, and volumes with their snapshots."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc.volumes import VolumeStore


class Storage:
    """What :class:`GuestRuntime` asks of disks.

    Args:
        layout: where the lab's storages are.
    """

    def __init__(self, layout: LabLayout) -> None:
        self._layout = layout
        self._store = VolumeStore(layout)

    def templates(self) -> Mapping[str, int]:
        """See :class:`GuestRuntime`."""
        folder = self._layout.storage / "template/cache"
        if not folder.is_dir():
            return {}
        return {
            file.name: file.stat().st_size
            for file in sorted(folder.iterdir())
            if re.search(r"\.tar\.(gz|xz|zst|bz2)$", file.name) and not file.name.startswith(".")
        }

    def volumes(self) -> Mapping[str, int]:
        """See :class:`GuestRuntime`."""
        return self._store.sizes()

    def space(self) -> tuple[int, int]:
        """See :class:`GuestRuntime`."""
        usage = shutil.disk_usage(self._layout.root)
        return usage.total, usage.free

    def allocate(self, volume: str, size: int) -> None:
        """See :class:`GuestRuntime`."""
        self._store.allocate(volume, size)

    def free(self, volume: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.free(volume)

    def rename(self, volume: str, new: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.rename(volume, new)

    def copy(self, volume: str, new: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.copy(volume, new)

    def snapshot(self, volume: str, name: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.snapshot(volume, name)

    def rollback(self, volume: str, name: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.rollback(volume, name)

    def drop_snapshot(self, volume: str, name: str) -> None:
        """See :class:`GuestRuntime`."""
        self._store.drop_snapshot(volume, name)

    def grow(self, vmid: int, key: str, volume: str, size: int) -> None:
        """See :class:`GuestRuntime`."""
        self._store.grow(volume, size)
