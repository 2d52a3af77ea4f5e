"""Everything that the endpoints work on: one node with its files, locks, tasks and guests."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

from zentoria_infra.lab.api.auth.access import Access
from zentoria_infra.lab.api.filtering import Filtering
from zentoria_infra.lab.api.firewall.store import FirewallFiles
from zentoria_infra.lab.api.guests import Guests
from zentoria_infra.lab.api.interfaces import Interfaces
from zentoria_infra.lab.api.locks import Locks
from zentoria_infra.lab.api.losses import Losses
from zentoria_infra.lab.api.storages import Storages
from zentoria_infra.lab.api.tasks import Tasks
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.runtime import GuestRuntime


@dataclasses.dataclass(frozen=True)
class Release:
    """The release that the node says it is."""

    version: str
    release: str
    repoid: str

    @property
    def major(self) -> int:
        """8 or 9."""
        return int(self.release.partition(".")[0])


def release_of(name: str) -> Release:
    """The release for a name as ``8.4`` or ``9.1``."""
    patch = {"8.4": "8.4.21", "9.0": "9.0.11", "9.1": "9.1.2", "9.2": "9.2.11"}.get(name, f"{name}.1")
    return Release(version=patch, release=name, repoid="2606ac850d46da29")


class Node:
    """A Proxmox node: state in files below ``layout``, disks and processes behind ``runtime``."""

    def __init__(
        self,
        layout: LabLayout,
        runtime: GuestRuntime,
        *,
        name: str,
        release: Release,
        bridges: Mapping[str, str],
        lock_timeout: float,
    ) -> None:
        self.layout = layout
        self.runtime = runtime
        self.name = name
        self.release = release
        self.started = time.time()
        self.fingerprint = ""
        self.losses = Losses()
        self.locks = Locks(lock_timeout)
        self.access = Access(layout.pve, release.major, self.locks)
        self.guests = Guests(layout.pve, name)
        self.tasks = Tasks(layout.tasks, name)
        self.storages = Storages(layout.pve / "storage.cfg", layout.storage)
        self.interfaces = Interfaces(layout.pve / "nodes" / name, bridges)
        self.firewall = FirewallFiles(layout.pve, name)
        self.filtering = Filtering()
