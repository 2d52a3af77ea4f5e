"""What Proxmox says, as frozen values.

Proxmox gives one and the same thing as a number here and as a string there, and 0/1 for booleans: everything is
made one type here, in one place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


def integer(value: Any, default: int = 0) -> int:
    """``5``, ``"5"``, ``5.0`` and ``"5.5"`` as int; anything else as ``default``."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


def truth(value: Any) -> bool:
    """Proxmox's booleans: 1, "1", true, "yes", "on"."""
    return str(value).strip().lower() in {"1", "true", "yes", "on"}


def text(value: Any) -> str:
    """A configuration value as Proxmox would write it into its file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def texts(raw: Mapping[str, Any]) -> Mapping[str, str]:
    """A read-only copy of ``raw`` with every value as text."""
    return MappingProxyType({str(key): text(value) for key, value in raw.items()})


def words(value: Any) -> tuple[str, ...]:
    """A list in Proxmox's spelling (``;``, ``,`` or blanks between) as a sorted tuple without repeats."""
    return tuple(sorted({word for word in re.split(r"[;,\s]+", text(value)) if word}))


@dataclass(frozen=True)
class Version:
    """``GET /version``: "8.4.21" and "8.4"."""

    version: str
    release: str

    @property
    def major(self) -> int:
        """8 or 9; 0 when the text is none that we know."""
        return integer(self.version.partition(".")[0])


@dataclass(frozen=True)
class NodeStatus:
    """``GET /nodes/{node}/status``; sizes in bytes, uptime in seconds, load of the last minute."""

    node: str
    cpus: int
    memory_total: int
    memory_used: int
    rootfs_free: int
    uptime: int
    pve_version: str
    load: float
    """Processes that ran or waited, on average over the last minute."""


@dataclass(frozen=True)
class Guest:
    """One container or virtual machine of the list; ``memory`` is its limit in bytes.

    ``/cluster/resources`` lags behind by up to 10 s: a new guest has status "unknown" and no name or tags there.
    """

    vmid: int
    node: str
    kind: str
    """Either "lxc" or "qemu"."""
    status: str
    name: str = ""
    tags: tuple[str, ...] = ()
    pool: str = ""
    lock: str = ""
    template: bool = False
    memory: int = 0


@dataclass(frozen=True)
class ContainerConfig:
    """``GET /nodes/{node}/lxc/{vmid}/config``: the raw values as text, without the digest.

    Values that wait for a restart are shown as if they were set (``current=1`` shows the others).
    """

    vmid: int
    node: str
    values: Mapping[str, str]
    digest: str

    @property
    def tags(self) -> tuple[str, ...]:
        """Sorted tags."""
        return words(self.values.get("tags"))

    @property
    def description(self) -> str:
        """The notes, without the line end that Proxmox adds."""
        return self.values.get("description", "").strip()

    @property
    def lock(self) -> str:
        """What holds it: "backup", "create" ...; empty when nothing does."""
        return self.values.get("lock", "")


@dataclass(frozen=True)
class PendingValue:
    """One line of ``GET .../pending`` that waits for a restart.

    Attributes:
        key: option name.
        value: what is in force, or None.
        pending: what comes into force at the restart, or None.
        deleted: the option goes away at the restart.
    """

    key: str
    value: str | None
    pending: str | None
    deleted: bool


@dataclass(frozen=True)
class Template:
    """A container template on a storage; ``size`` in bytes."""

    volid: str
    size: int


@dataclass(frozen=True)
class Volume:
    """A volume of a guest on a storage; ``size`` in bytes. By its name it belongs to the guest ``vmid``."""

    volid: str
    vmid: int
    size: int


@dataclass(frozen=True)
class Storage:
    """A storage as seen by one node; sizes in bytes."""

    name: str
    kind: str
    content: tuple[str, ...]
    active: bool
    enabled: bool
    shared: bool
    total: int
    used: int
    available: int


@dataclass(frozen=True)
class Bridge:
    """A bridge of a node; ``cidr`` is empty when the bridge has no address."""

    name: str
    kind: str
    cidr: str
    active: bool
    autostart: bool


@dataclass(frozen=True)
class Pool:
    """A pool with its guests and storages."""

    name: str
    comment: str
    guests: tuple[int, ...]
    storages: tuple[str, ...]


@dataclass(frozen=True)
class Permissions:
    """``GET /access/permissions``: what the caller may do, by path; the boolean says whether it propagates."""

    by_path: Mapping[str, Mapping[str, bool]]

    def allows(self, path: str, privilege: str) -> bool:
        """Whether ``privilege`` holds on ``path``.

        The nearest listed path decides, as with Proxmox's ACLs; what does not propagate holds only there. A
        guest's pool is not among the ancestors of ``/vms/404``: ask for ``/pool/<name>``.
        """
        here = path
        while True:
            if here in self.by_path:
                return privilege in self.by_path[here] and (here == path or self.by_path[here][privilege])
            if here in ("", "/"):
                return False
            here = here.rpartition("/")[0] or "/"


@dataclass(frozen=True)
class FirewallOptions:
    """Options of the datacenter, a node or a guest, as text, without the digest; absent means the default."""

    values: Mapping[str, str]
    digest: str

    @property
    def enabled(self) -> bool:
        """The ``enable`` switch; off when absent."""
        return truth(self.values.get("enable", "0"))


@dataclass(frozen=True)
class Task:
    """One line of a node's task list. ``exit_status`` is empty while it runs; ``started`` in Unix seconds."""

    upid: str
    node: str
    kind: str
    subject: str
    user: str
    started: int
    exit_status: str = ""
