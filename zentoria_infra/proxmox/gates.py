"""Who may write at the same time.

Proxmox holds a container's lock for a whole create; a second call on the same VMID waits 10 s and fails. Volumes
are allocated one at a time a storage, and more than about four creates at once gain nothing (measured).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping

CREATES_PER_STORAGE = 4


class Gates:
    """One write in flight a VMID, a few creates a storage. Safe from several threads; not re-entrant.

    Args:
        creates_per_storage: how many creates may run on one storage at a time.
    """

    def __init__(self, creates_per_storage: int = CREATES_PER_STORAGE) -> None:
        if creates_per_storage < 1:
            raise ValueError("at least one create a storage must be allowed")
        self._width = creates_per_storage
        self._guard = threading.Lock()
        self._vmids: dict[int, threading.Lock] = {}
        self._storages: dict[str, threading.BoundedSemaphore] = {}

    @contextlib.contextmanager
    def vmid(self, vmid: int) -> Iterator[None]:
        """Wait until no other write on ``vmid`` is in flight, and keep others out."""
        with self._guard:
            lock = self._vmids.setdefault(vmid, threading.Lock())
        with lock:
            yield

    @contextlib.contextmanager
    def storages(self, names: Iterable[str]) -> Iterator[None]:
        """Take one place on each storage, in one order for all callers, so that two cannot wait for each other.

        To be taken inside :meth:`vmid`, never around it.
        """
        with contextlib.ExitStack() as stack:
            for name in sorted(set(names)):
                with self._guard:
                    place = self._storages.setdefault(name, threading.BoundedSemaphore(self._width))
                stack.enter_context(place)
            yield


def storages_of(params: Mapping[str, object]) -> set[str]:
    """The storages that a create allocates on: of rootfs and mount points, and ``storage``."""
    volumes = (str(value) for key, value in params.items() if re.fullmatch(r"rootfs|mp\d+", key))
    found = {volume.removeprefix("volume=").partition(":")[0] for volume in volumes if ":" in volume}
    if "storage" in params:
        found.add(str(params["storage"]))
    return found or {"local"}  # Proxmox's default
