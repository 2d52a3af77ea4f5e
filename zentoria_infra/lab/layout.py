"""Where a lab keeps its things, and which ports and names it owns: nothing outside is touched."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from zentoria_infra.errors import LabError

NODE = "pve"
"""Name of the lab's single node, as Proxmox's installer suggests it."""

LOCAL = "local"
"""Name of the node's directory storage, which every Proxmox node has."""

BTRFS = "local-btrfs"
"""Name of the storage that can snapshot containers, which Proxmox's installer gives it on a btrfs file system."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,7}")


@dataclasses.dataclass(frozen=True)
class LabLayout:
    """One lab's names, ports and paths.

    Args:
        name: 1-8 characters, ``[a-z][a-z0-9-]*``; names the namespace, cgroups and interfaces.
        root: folder that holds all of the lab's state; removed by ``reset``.
        api_port: TCP port on 127.0.0.1 of the HTTPS API.
        ssh_port: TCP port on 127.0.0.1 of sshd.
        https_port: TCP port on 127.0.0.1 that is forwarded to the proxy container's 443.
        http_port: TCP port on 127.0.0.1 that is forwarded to the proxy container's 80.
    """

    name: str
    root: Path
    api_port: int = 8006
    ssh_port: int = 2222
    https_port: int = 8443
    http_port: int = 8080

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"use the lab name {self.name!r}",
                got="a lab's name has 1 to 8 characters: a-z, 0-9 and '-', a letter first",
                todo="choose another name with --name",
            )

    @property
    def netns(self) -> str:
        """Name of the network namespace that holds the lab's bridge."""
        return f"zt-{self.name}"

    @property
    def pve(self) -> Path:
        """The lab's /etc/pve: ``lxc/<vmid>.conf``, ``firewall/*.fw``, ``user.cfg``, ``storage.cfg``."""
        return self.root / "pve"

    @property
    def guests(self) -> Path:
        """The ``lxcpath`` of LXC: one folder a VMID."""
        return self.root / "guests"

    @property
    def storage(self) -> Path:
        """The ``local`` directory storage: ``template/cache`` and ``images/<vmid>``."""
        return self.root / "storage"

    @property
    def storages(self) -> Path:
        """The other storages, one folder each by name, whatever path on the node they were given."""
        return self.root / "storages"

    def images(self, storage: str) -> Path:
        """Folder of a storage's volumes, ``<vmid>/<name>`` below it."""
        return (self.storage if storage == LOCAL else self.storages / storage) / "images"

    def storage_names(self) -> list[str]:
        """Storages that have, or had, files here."""
        others = [entry.name for entry in self.storages.iterdir()] if self.storages.is_dir() else []
        return [LOCAL, *sorted(others)]

    @property
    def tasks(self) -> Path:
        """Task logs and their index."""
        return self.root / "tasks"

    @property
    def run(self) -> Path:
        """Pid files and sockets."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """The lab's own log files."""
        return self.root / "log"

    @property
    def access_log(self) -> Path:
        """Every request at the API from outside, a line each, as pveproxy writes it."""
        return self.logs / "access.log"

    @property
    def secrets(self) -> Path:
        """Keys, certificates, tokens (mode 0700; files 0600)."""
        return self.root / "secrets"

    @property
    def state(self) -> Path:
        """What sites remember on the node, which a real one keeps in /var/lib/zentoria (mode 0700)."""
        return self.root / "state"

    @property
    def control_socket(self) -> Path:
        """Unix socket on which the daemon serves the API to ``pct`` as root@pam, without a login."""
        return self.run / "control.sock"


def default_root() -> Path:
    """Folder below which labs live: ``$ZENTORIA_LAB_ROOT``, else /var/lib or the user's state folder."""
    if override := os.environ.get("ZENTORIA_LAB_ROOT"):
        return Path(override)
    if os.geteuid() == 0:
        return Path("/var/lib/zentoria-lab")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(base) / "zentoria-lab"
