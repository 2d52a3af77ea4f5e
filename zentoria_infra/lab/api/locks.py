"""Locks by name, with Proxmox's wait and Proxmox's words when it runs out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from zentoria_infra.lab.api.faults import internal


class Locks:
    """One lock a name, made when first asked for.

    Args:
        timeout: seconds to wait for a lock that somebody else holds.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self._timeout = timeout
        self._guard = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    @contextlib.contextmanager
    def hold(self, name: str, *, wait: float | None = None) -> Iterator[None]:
        """Hold a lock; raises a 500 Fault when it is not free in time. The same thread may hold it twice."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.RLock())
        if not lock.acquire(timeout=self._timeout if wait is None else wait):
            raise internal(f"can't lock file '{name}' - got timeout")
        try:
            yield
        finally:
            lock.release()

    def guest(self, vmid: int) -> contextlib.AbstractContextManager[None]:
        """The lock of a container's configuration."""
        return self.hold(f"/run/lock/lxc/pve-config-{vmid}.lock")

    def file(self, name: str) -> contextlib.AbstractContextManager[None]:
        """The lock of a file of the cluster, as ``user.cfg``."""
        return self.hold(f"/etc/pve/priv/lock/{name}")
