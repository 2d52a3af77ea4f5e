"""The node's firewall files and the containers' configuration files, as far as they decide about packets."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from zentoria_infra.lab.api import files, guestconf
from zentoria_infra.lab.api.firewall import conf
from zentoria_infra.lab.api.firewall.conf import FirewallConf
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.lxc.config import options

_HWADDR = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Signatures = Mapping[Path, files.Signature | None]


@dataclasses.dataclass(frozen=True)
class Nic:
    """One network device of a container that has ``firewall=1``.

    Args:
        index: its number.
        hwaddr: its hardware address; empty when the file has none.
        addresses: those that the file gives it; none for ``dhcp``, ``auto`` and ``manual``.
    """

    index: int
    hwaddr: str = ""
    addresses: tuple[Address, ...] = ()


@dataclasses.dataclass(frozen=True)
class Guest:
    """One container: its firewall, and its network devices that have one."""

    vmid: int
    firewall: FirewallConf
    nics: tuple[Nic, ...] = ()


@dataclasses.dataclass(frozen=True)
class Read:
    """All that there is to know; guests by number."""

    cluster: FirewallConf = dataclasses.field(default_factory=FirewallConf)
    host: FirewallConf = dataclasses.field(default_factory=FirewallConf)
    guests: tuple[Guest, ...] = ()


def nics(config: Mapping[str, str]) -> tuple[Nic, ...]:
    """The network devices with a firewall of a container's configuration, by number."""
    numbers = sorted(int(key[3:]) for key in config if re.fullmatch(r"net\d+", key))
    found = []
    for number in numbers:
        parts = options(config[f"net{number}"])
        if flag(parts, "firewall", default=False):
            addresses = [one for key in ("ip", "ip6") if (one := _address(parts.get(key, ""))) is not None]
            hwaddr = parts.get("hwaddr", "")
            found.append(Nic(number, hwaddr if _HWADDR.fullmatch(hwaddr) else "", tuple(addresses)))
    return tuple(found)


def flag(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A switch. A value that is none leaves the default, as Proxmox passes over such a line."""
    text = values.get(name, "")
    return int(text) != 0 if text.isdecimal() else default


def _address(text: str) -> Address | None:
    try:
        return None if "%" in text else ipaddress.ip_interface(text).ip
    except ValueError:
        return None


class Reader:
    """Reads the files of one node; those that did not change are not parsed again.

    Args:
        folder: the node's ``/etc/pve``.
        node: its name.
    """

    def __init__(self, folder: Path, node: str) -> None:
        self._cluster = folder / "firewall/cluster.fw"
        self._host = folder / "nodes" / node / "host.fw"
        self._firewalls = folder / "firewall"
        self._guests = folder / "lxc"
        self._fw: dict[Path, files.Parsed[FirewallConf]] = {}
        self._conf: dict[Path, files.Parsed[GuestConf]] = {}

    def signatures(self) -> Signatures:
        """What differs from before when something has changed."""
        paths = {self._cluster, self._host}
        for vmid in self._vmids():
            paths |= {self._guests / f"{vmid}.conf", self._firewalls / f"{vmid}.fw"}
        return {path: files.signature(path) for path in paths}

    def read(self) -> Read:
        """Read everything."""
        configs = {vmid: _parsed(self._conf, self._guests / f"{vmid}.conf", guestconf.parse).options
                   for vmid in self._vmids()}  # fmt: skip
        guests = [
            Guest(vmid, self._firewall(self._firewalls / f"{vmid}.fw"), nics(config))
            for vmid, config in sorted(configs.items())
        ]
        return Read(self._firewall(self._cluster), self._firewall(self._host), tuple(guests))

    def _vmids(self) -> list[int]:
        return sorted(int(path.stem) for path in self._guests.glob("*.conf") if path.stem.isdecimal())

    def _firewall(self, path: Path) -> FirewallConf:
        return _parsed(self._fw, path, conf.parse)


def _parsed(cache: dict[Path, files.Parsed[files.T]], path: Path, parse: Callable[[str], files.T]) -> files.T:
    return cache.setdefault(path, files.Parsed(path, parse)).get()
