"""Where each firewall configuration lies, and how it is changed: one scope is the cluster, the node or a guest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from zentoria_infra.lab.api import files
from zentoria_infra.lab.api.faults import modified
from zentoria_infra.lab.api.firewall import conf
from zentoria_infra.lab.api.firewall.conf import FirewallConf

Kind = Literal["cluster", "host", "ct"]


@dataclasses.dataclass(frozen=True)
class Scope:
    """Whose firewall: the datacenter's, the node's or a container's."""

    kind: Kind
    vmid: int = 0


CLUSTER = Scope("cluster")
HOST = Scope("host")


def guest(vmid: int) -> Scope:
    """A container's firewall; it need not exist (Proxmox does not look)."""
    return Scope("ct", vmid)


class FirewallFiles:
    """The firewall files of a node."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._guard = threading.Lock()
        self._cache: dict[Scope, files.Parsed[FirewallConf]] = {}
        self._locks: dict[Scope, threading.RLock] = {}

    def path(self, scope: Scope) -> Path:
        """The file of a scope."""
        if scope.kind == "host":
            return self._folder / "nodes" / self._node / "host.fw"
        name = "cluster.fw" if scope.kind == "cluster" else f"{scope.vmid}.fw"
        return self._folder / "firewall" / name

    def _parsed(self, scope: Scope) -> files.Parsed[FirewallConf]:
        with self._guard:
            return self._cache.setdefault(scope, files.Parsed(self.path(scope), conf.parse))

    def get(self, scope: Scope) -> FirewallConf:
        """A configuration, read-only; an empty one when there is no file."""
        return self._parsed(scope).get()

    @contextlib.contextmanager
    def change(self, scope: Scope) -> Iterator[FirewallConf]:
        """Change a configuration: yields a copy and writes it when nothing was raised."""
        with self._guard:
            lock = self._locks.setdefault(scope, threading.RLock())
        with lock:
            config = self._parsed(scope).fresh()
            yield config
            files.write_atomic(self.path(scope), conf.render(config))

    def remove(self, vmid: int) -> None:
        """Remove a container's firewall, as its destruction does."""
        self.path(guest(vmid)).unlink(missing_ok=True)


def digest(items: Mapping[str, object] | Sequence[Mapping[str, object]]) -> str:
    """The digest of an object or of a list of objects; that of nothing when it is empty."""
    sha = hashlib.sha1(usedforsecurity=False)
    for item in [items] if isinstance(items, Mapping) else items:
        for key in sorted(item):
            sha.update(f"{key}:{item[key]}\n".encode())
    return sha.hexdigest()


def check_digest(sent: str, now: str) -> None:
    """Raise a 500 Fault when a digest was sent and is not the one of now."""
    if sent and sent != now:
        raise modified()
