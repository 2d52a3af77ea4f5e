"""The containers' configuration files in ``lxc/``, and what the runtime says of the containers."""

from __future__ import annotations

import threading
from pathlib import Path

from zentoria_infra.lab.api import files, guestconf
from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.guestconf import GuestConf


class Guests:
    """Reads and writes ``lxc/<vmid>.conf``. The caller holds the container's lock while it changes one."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder / "lxc"
        self._node = node
        self._guard = threading.Lock()
        self._cache: dict[int, files.Parsed[GuestConf]] = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        # On a real node ``lxc`` leads to ``nodes/NODE/lxc``; what runs there reads both.
        beside = folder / "nodes" / node / "lxc"
        beside.parent.mkdir(parents=True, exist_ok=True)
        if not beside.is_symlink():
            beside.symlink_to("../../lxc")

    def path(self, vmid: int) -> Path:
        """The file of a container."""
        return self._folder / f"{vmid}.conf"

    def ids(self) -> list[int]:
        """All containers, by number."""
        names = (path.stem for path in self._folder.glob("*.conf"))
        return sorted(int(name) for name in names if name.isdigit())

    def exists(self, vmid: int) -> bool:
        """Whether a container has that number."""
        return self.path(vmid).exists()

    def get(self, vmid: int) -> GuestConf:
        """A container's configuration, read-only. Raises a 500 Fault when there is none."""
        with self._guard:
            parsed = self._cache.setdefault(vmid, files.Parsed(self.path(vmid), guestconf.parse))
        if files.signature(self.path(vmid)) is None:
            raise internal(f"Configuration file 'nodes/{self._node}/lxc/{vmid}.conf' does not exist")
        return parsed.get()

    def edit(self, vmid: int) -> GuestConf:
        """A copy of a container's configuration, to change and save."""
        return self.get(vmid).copy()

    def save(self, vmid: int, conf: GuestConf) -> None:
        """Write a container's configuration; ``conf.digest`` becomes that of the new file."""
        text = guestconf.render(conf)
        files.write_atomic(self.path(vmid), text)
        conf.digest = files.digest(text)

    def remove(self, vmid: int) -> None:
        """Remove a container's configuration."""
        self.path(vmid).unlink(missing_ok=True)


def check_lock(conf: GuestConf) -> None:
    """Raise a 500 Fault when the container is locked."""
    if lock := conf.options.get("lock"):
        raise internal(f"CT is locked ({lock})")
