"""The seam between the lab's API and what really runs behind it.

The API (``lab/api``) owns configuration, tasks, rights and wording. A runtime owns disks, processes and
network. Methods are synchronous and are called from task threads, never two at a time for one VMID.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

Log = Callable[[str], None]
"""Adds one line to the task's log."""

Config = Mapping[str, str]
"""A container's configuration as in Proxmox's file: key to unparsed value (``net0``, ``memory``...)."""


class RuntimeFailure(Exception):
    """The runtime could not do it. The text becomes the task's exit status."""


@dataclasses.dataclass(frozen=True)
class GuestStatus:
    """What a container uses now. Sizes in bytes, cpu as a fraction of its cores, uptime in seconds."""

    running: bool
    pid: int = 0
    uptime: int = 0
    cpu: float = 0.0
    mem: int = 0
    swap: int = 0
    disk: int = 0
    maxdisk: int = 0
    netin: int = 0
    netout: int = 0
    diskread: int = 0
    diskwrite: int = 0


@dataclasses.dataclass(frozen=True)
class Interface:
    """A network interface inside a running container."""

    name: str
    hwaddr: str
    inet: tuple[str, ...]
    """Addresses with prefix, as ``10.10.40.4/20``."""
    inet6: tuple[str, ...]


class GuestRuntime(Protocol):
    """What the API asks of the guests. ``NullRuntime`` and the LXC runtime implement it."""

    def templates(self) -> Mapping[str, int]:
        """File names of the templates in ``template/cache`` and their sizes in bytes."""
        ...

    def volumes(self) -> Mapping[str, int]:
        """Volumes of all storages by id, as ``local:404/vm-404-disk-0.raw``, and their sizes in bytes."""
        ...

    def space(self) -> tuple[int, int]:
        """Total and available bytes of the storages: they share the lab's file system."""
        ...

    def allocate(self, volume: str, size: int) -> None:
        """Make an empty volume of ``size`` bytes. Raises RuntimeFailure when it does not fit."""
        ...

    def free(self, volume: str) -> None:
        """Remove a volume with its snapshots. A missing one is no error."""
        ...

    def rename(self, volume: str, new: str) -> None:
        """Give a volume that is not in use another name. Raises RuntimeFailure when it is not there, or the new is."""
        ...

    def copy(self, volume: str, new: str) -> None:
        """Copy a volume that is not in use, to another storage too. Raises RuntimeFailure and leaves nothing."""
        ...

    def snapshot(self, volume: str, name: str) -> None:
        """Take a snapshot of a volume. Raises RuntimeFailure when it is there already, or the volume is not."""
        ...

    def rollback(self, volume: str, name: str) -> None:
        """Put a volume that is not in use back to a snapshot, which stays. Raises RuntimeFailure when there is none."""
        ...

    def drop_snapshot(self, volume: str, name: str) -> None:
        """Remove a volume's snapshot. Raises RuntimeFailure when there is none."""
        ...

    def freeze(self, vmid: int) -> None:
        """Hold a running container's processes, and write all that they have written to its volumes."""
        ...

    def thaw(self, vmid: int) -> None:
        """Let a frozen container go on; one that does not run is no error."""
        ...

    def grow(self, vmid: int, key: str, volume: str, size: int) -> None:
        """Grow a volume (``key`` is ``rootfs`` or ``mpN``) to ``size`` bytes, online when it is mounted."""
        ...

    def unpack(self, vmid: int, template: str, config: Config, log: Log) -> None:
        """Fill the root file system of a new container from a template; set hostname and network files."""
        ...

    def destroy(self, vmid: int, log: Log) -> None:
        """Remove everything of a stopped container but its volumes (those are freed one by one)."""
        ...

    def start(self, vmid: int, config: Config, log: Log) -> None:
        """Start a container. Raises RuntimeFailure when its init does not come up."""
        ...

    def stop(self, vmid: int, log: Log) -> None:
        """Stop at once."""
        ...

    def shutdown(self, vmid: int, timeout: int, log: Log) -> bool:
        """Ask init to halt; False when it still ran after ``timeout`` seconds."""
        ...

    def apply(self, vmid: int, config: Config, changed: frozenset[str], log: Log) -> None:
        """Apply changed keys of a running container at once (memory, swap, cores, cpulimit, hostname, netN)."""
        ...

    def status(self, vmid: int) -> GuestStatus:
        """What the container uses now; ``running=False`` for one that does not run."""
        ...

    def interfaces(self, vmid: int) -> tuple[Interface, ...]:
        """The interfaces inside a running container."""
        ...
