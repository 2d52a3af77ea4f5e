"""The node's network interfaces: ``interfaces`` holds now, ``interfaces.new`` after it was applied (PVE::INotify)."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from zentoria_infra.lab.api import files

Stanza = dict[str, str]
_BRIDGE = {"bridge_ports": "", "bridge_stp": "off", "bridge_fd": "0"}


@dataclasses.dataclass
class Network:
    """Interfaces in their order: name to options as the API names them (``type``, ``cidr``, ``autostart``...)."""

    stanzas: dict[str, Stanza] = dataclasses.field(default_factory=dict)


def bridge(cidr: str = "") -> Stanza:
    """A bridge with an address (``10.0.0.1/24``), or without one."""
    stanza = {"type": "bridge", "autostart": "1", **_BRIDGE}
    return {**stanza, "cidr": cidr} if cidr else stanza


def parse(text: str) -> Network:
    """Read an ``interfaces`` file as ``render`` writes it."""
    network = Network()
    autostart: set[str] = set()
    current: Stanza | None = None
    for line in text.split("\n"):
        words = line.split()
        if line.startswith("auto "):
            autostart.update(words[1:])
        elif match := re.fullmatch(r"iface (\S+) inet6? (static|manual|loopback)", line):
            current = None if match[1] == "lo" else network.stanzas.setdefault(match[1], {})
        elif current is not None and line.startswith("#"):
            current["comments"] = current.get("comments", "") + line[1:] + "\n"
        elif current is not None and len(words) >= 2:
            key = {"address": "cidr"}.get(words[0], words[0].replace("-", "_"))
            current[key] = " ".join(words[1:]) if words[1:] != ["none"] else ""
    for name, stanza in network.stanzas.items():
        stanza.setdefault("type", "bridge" if "bridge_ports" in stanza else "vlan" if "." in name else "eth")
        if name in autostart:
            stanza["autostart"] = "1"
    return network


def render(network: Network) -> str:
    """Write an ``interfaces`` file for ifupdown2."""
    text = "auto lo\niface lo inet loopback\n"
    for name, stanza in network.stanzas.items():
        text += f"\nauto {name}\n" if stanza.get("autostart") == "1" else "\n"
        text += f"iface {name} inet {'static' if stanza.get('cidr') else 'manual'}\n"
        for key in ("cidr", "gateway", "mtu", "bridge_ports", "bridge_stp", "bridge_fd", "bridge_vlan_aware",
                    "bridge_vids", "vlan_id", "vlan_raw_device"):  # fmt: skip
            if key in stanza:
                word = {"cidr": "address"}.get(key, key.replace("_", "-"))
                text += f"\t{word} {stanza[key] or 'none'}\n"
        text += "".join(f"#{line}\n" for line in stanza.get("comments", "").splitlines())
    return text


class Interfaces:
    """The node's interfaces and the changes to them that wait."""

    def __init__(self, folder: Path, bridges: Mapping[str, str]) -> None:
        self._active = files.Parsed(folder / "interfaces", parse)
        self._new = files.Parsed(folder / "interfaces.new", parse)
        self.lock = threading.RLock()
        network = self._active.fresh()
        for name, cidr in bridges.items():
            network.stanzas.setdefault(name, bridge(cidr))
        text = render(network)
        if text != files.read_text(self._active.path):
            files.write_atomic(self._active.path, text)

    def active(self) -> Network:
        """What holds now; read-only."""
        return self._active.get()

    def wanted(self) -> Network:
        """What will hold once the changes are applied; a copy."""
        return (self._new if self._new.path.exists() else self._active).fresh()

    def save(self, network: Network) -> None:
        """Keep changes until they are applied."""
        files.write_atomic(self._new.path, render(network))

    def changes(self) -> str:
        """The waiting changes as a unified diff; empty when there are none."""
        new = files.read_text(self._new.path)
        if new is None:
            return ""
        old = files.read_text(self._active.path) or ""
        names = ("/etc/network/interfaces", "/etc/network/interfaces.new")
        return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), *names))

    def apply(self) -> None:
        """Make the waiting changes hold."""
        if self._new.path.exists():
            self._new.path.replace(self._active.path)

    def revert(self) -> None:
        """Forget the waiting changes."""
        self._new.path.unlink(missing_ok=True)

    def has_bridge(self, name: str) -> bool:
        """Whether a bridge of that name is up."""
        stanza = self.active().stanzas.get(name)
        return stanza is not None and stanza["type"] == "bridge"


def describe(name: str, stanza: Mapping[str, str], order: int, *, active: bool) -> dict[str, object]:
    """An interface as the API answers it."""
    row: dict[str, object] = {"iface": name, "priority": order, "families": ["inet"], "method6": "manual"}
    row.update({key: value for key, value in stanza.items() if key not in ("autostart", "cidr")})
    row["method"] = "static" if stanza.get("cidr") else "manual"
    if stanza.get("autostart") == "1":
        row["autostart"] = 1
    if cidr := stanza.get("cidr"):
        address = ipaddress.ip_interface(cidr)
        row.update(cidr=cidr, address=str(address.ip), netmask=str(address.network.prefixlen))
    if active:
        row["active"] = 1
    return row
