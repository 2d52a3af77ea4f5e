"""The lab's own network: one namespace with its bridges. Nothing of it shows in the host's network."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zentoria_infra.errors import LabError
from zentoria_infra.lab import netns
from zentoria_infra.lab.lxc import config as pve
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.runtime import Interface, RuntimeFailure

BRIDGES: Mapping[str, str] = {"vmbr0": "10.99.0.1/24", "vmbr40": "10.10.47.254/20"}
"""The node's bridges and its own address on each: vmbr0 stands for the outside, vmbr40 is internal."""


class Network:
    """The network of one lab.

    Args:
        name: the network namespace.
        bridges: names of the bridges and the node's address with prefix on each.
    """

    def __init__(self, name: str, bridges: Mapping[str, str] = BRIDGES) -> None:
        self._name = name
        self._bridges = dict(bridges)

    def up(self) -> None:
        """Make the namespace and the bridges; what is there stays as it is."""
        if not netns.exists(self._name):
            netns.path(self._name).unlink(missing_ok=True)  # a file without a namespace, after a reboot
            run(["ip", "netns", "add", self._name])
        batch = ["link set dev lo up"]
        for bridge, address in self._bridges.items():
            if self.has(bridge):
                continue
            batch += [
                f"link add name {bridge} type bridge stp_state 0 forward_delay 0",
                f"link set dev {bridge} addrgenmode none",
                f"addr add {address} broadcast + dev {bridge}",
                f"link set dev {bridge} up",
            ]
        self._batch(batch)
        # the node routes nothing between its bridges: what leaves the lab goes through its proxies
        netns.run_in(self._name, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"))

    def down(self) -> None:
        """Remove the namespace with all in it; a missing one is no error."""
        if netns.path(self._name).exists():
            run(["ip", "netns", "delete", self._name])

    def has(self, device: str) -> bool:
        """Whether a device (a bridge, a guest's veth) is in the namespace."""
        try:
            netns.run_in(self._name, lambda: socket.if_nametoindex(device))
        except OSError:
            return False
        return True

    def require(self, nets: tuple[pve.Net, ...]) -> None:
        """Check that all bridges of a guest are there.

        Raises:
            RuntimeFailure: one is not, in Proxmox's words; or the lab's network is not up.
        """
        try:
            for net in nets:
                if not self.has(net.bridge):
                    raise RuntimeFailure(f"bridge '{net.bridge}' does not exist")
        except LabError as failure:
            raise RuntimeFailure(f"the lab's network is not up: {failure.got}") from failure

    def plug(self, vmid: int, net: pve.Net, pid: int) -> None:
        """Give a running guest a network device, or change the one it has under that number.

        A device that keeps its name and hardware address stays, so its connections do; only the bridge
        and the address change.
        """
        self.require((net,))
        current = next((entry for entry in _addresses(pid) if entry["ifname"] == net.name), None)
        same = (
            current is not None
            and self.has(pve.veth(vmid, net.index))
            and (not net.hwaddr or str(current["address"]).lower() == net.hwaddr.lower())
        )
        if same:
            self._batch([f"link set dev {pve.veth(vmid, net.index)} master {net.bridge} up"])
            self._inside(pid, [f"addr flush dev {net.name}", *pve.address_batch(net)])
            return
        self.unplug(vmid, net.index)
        self._batch(pve.outside_batch(vmid, net, str(pid)))
        self._inside(pid, pve.inside_batch(net))

    def unplug(self, vmid: int, index: int) -> None:
        """Take a guest's device away; a missing one is no error."""
        if self.has(pve.veth(vmid, index)):
            self._batch([f"link delete dev {pve.veth(vmid, index)}"])

    def _batch(self, lines: list[str]) -> None:
        run([*netns.enter_argv(self._name), "ip", "-batch", "-"], feed="\n".join(lines) + "\n")

    def _inside(self, pid: int, lines: list[str]) -> None:
        run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "-batch", "-"], feed="\n".join(lines) + "\n")


def interfaces(pid: int) -> tuple[Interface, ...]:
    """The devices in the network namespace of a process, with their addresses.

    Raises:
        RuntimeFailure: the process is gone.
    """
    found = []
    for entry in _addresses(pid):
        texts: dict[str, list[str]] = {"inet": [], "inet6": []}
        for address in entry.get("addr_info", []):
            texts[address["family"]].append(f"{address['local']}/{address['prefixlen']}")
        found.append(Interface(entry["ifname"], entry.get("address", ""), tuple(texts["inet"]), tuple(texts["inet6"])))
    return tuple(found)


def _addresses(pid: int) -> list[dict[str, Any]]:
    output = run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "-json", "address", "show"])
    entries: list[dict[str, Any]] = json.loads(output)
    return [entry for entry in entries if entry]


def traffic(pid: int) -> tuple[int, int]:
    """Bytes received and sent by all devices but ``lo`` in the namespace of a process; zeros when it is gone."""
    received = sent = 0
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return 0, 0
    for line in lines:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            words = numbers.split()
            received += int(words[0])
            sent += int(words[8])
    return received, sent
