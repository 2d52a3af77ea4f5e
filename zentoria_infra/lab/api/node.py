"""Everything that the endpoints work on: one node with its files, locks, tasks and guests."""

from __future__ import annotations

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
from zentoria_infra.lab.releases import Release
from zentoria_infra.lab.runtime import GuestRuntime


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
