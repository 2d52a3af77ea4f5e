"""The lab's own network: one namespace with its bridges. Nothing of it shows in the host's network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zentoria_infra.errors import LabError
from zentoria_infra.lab.lxc import config as pve
from zentoria_infra.lab.lxc import outside
from zentoria_infra.lab.lxc.commands import run
from zentoria_infra.lab.network import netns
from zentoria_infra.lab.runtime import Interface, RuntimeFailure

BRIDGES: Mapping[str, str] = {"vmbr0": "10.99.0.1/24", "vmbr40": "10.10.47.254/20"}
"""The node's bridges and its own address on each: vmbr0 stands for the outside, vmbr40 is internal."""

OUTSIDE = "198.51.100.1"
"""The node's address from which users on the internet come: one kept for documentation (RFC 5737), nobody's own."""


_SYSCTLS = {
    # a router, so that it answers: see _NOWHERE
    "ip_forward": "1",
    # only vmbr40 answers for the gateway: a guest's own bridge would too, and what is sent there misses its rules
    "conf/all/arp_ignore": "1",
    # pve-firewall ships this: an answer may come in another way than the packet went out
    "conf/all/rp_filter": "2",
}


_NOWHERE = "rule add pref 1000 iif {bridge} unreachable"
"""What comes in on a bridge and is not for the node goes nowhere, not to another bridge either: what leaves the lab
goes through its proxies. But it is told so, as by a router without an uplink: silence would look like a firewall."""


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
        batch = ["link set dev lo up", f"addr replace {OUTSIDE}/32 dev lo"]
        for bridge, address in self._bridges.items():
            if self.has(bridge):
                continue
            batch += [
                f"link add name {bridge} address {_hardware(bridge)} type bridge stp_state 0 forward_delay 0",
                f"link set dev {bridge} addrgenmode none",
                f"addr add {address} broadcast + dev {bridge}",
                f"link set dev {bridge} up",
                _NOWHERE.format(bridge=bridge),
            ]
        self._batch(batch)
        netns.run_in(self._name, _settings)

    def down(self) -> None:
        """Remove the namespace with all in it; a missing one is no error."""
        for name in (outside.name_of(self._name), self._name):
            if netns.path(name).exists():
                run(["ip", "netns", "delete", name])

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

        A device that keeps its name and hardware address stays, so its connections do; only the bridge, the
        firewall before it and the address change.
        """
        self.require((net,))
        current = next((entry for entry in _addresses(pid) if entry["ifname"] == net.name), None)
        same = (
            current is not None
            and self.has(pve.veth(vmid, net.index))
            and (not net.hwaddr or str(current["address"]).lower() == net.hwaddr.lower())
        )
        if same:
            self._batch(self._move(vmid, net))
            self._inside(pid, [f"addr flush dev {net.name}", *pve.address_batch(net)])
            return
        self.unplug(vmid, net.index)
        self._batch(pve.outside_batch(vmid, net, str(pid)))
        self._inside(pid, pve.inside_batch(net))

    def _move(self, vmid: int, net: pve.Net) -> list[str]:
        """Lines that bring a link that stays to its bridge, with or without a firewall between."""
        bridge, (outer, _) = pve.filter_bridge(vmid, net.index), pve.filter_links(vmid, net.index)
        if not self.has(bridge):
            return pve.plug_batch(vmid, net)
        if net.firewall:
            return [f"link set dev {outer} master {net.bridge}"]
        return [*pve.plug_batch(vmid, net), f"link delete dev {outer}", f"link delete dev {bridge}"]

    def unplug(self, vmid: int, index: int) -> None:
        """Take a guest's device away, with all that was made for it; a missing one is no error."""
        self._remove(vmid, {index})

    def clear(self, vmid: int) -> None:
        """Take all of a guest's devices away, when it has ended; LXC's hook may be about to do the same."""
        if netns.exists(self._name) and (indexes := self._indexes(vmid)):
            with contextlib.suppress(RuntimeFailure):
                run([*netns.enter_argv(self._name), "ip", *pve.remove_all(vmid).split()])
            self._remove(vmid, indexes)

    def _remove(self, vmid: int, indexes: set[int]) -> None:
        found = indexes & self._indexes(vmid)
        if not found:
            return
        lines = [line for index in sorted(found) for line in pve.remove_batch(vmid, index)]
        failure = None
        try:
            # with -force it goes on after a device that is not there
            run([*netns.enter_argv(self._name), "ip", "-force", "-batch", "-"], feed="\n".join(lines) + "\n")
        except RuntimeFailure as caught:
            failure = caught
        if failure is not None and found & self._indexes(vmid):
            raise failure

    def _indexes(self, vmid: int) -> set[int]:
        """Numbers of a guest's network devices of which something is in the namespace."""
        names = netns.run_in(self._name, socket.if_nameindex)
        matches = [re.fullmatch(rf"(?:veth|fwbr|fwln|fwpr){vmid}[ip](\d+)", name) for _, name in names]
        return {int(match[1]) for match in matches if match}

    def _batch(self, lines: list[str]) -> None:
        run([*netns.enter_argv(self._name), "ip", "-batch", "-"], feed="\n".join(lines) + "\n")

    def _inside(self, pid: int, lines: list[str]) -> None:
        run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "-batch", "-"], feed="\n".join(lines) + "\n")


def _settings() -> None:
    """The namespace's sysctls."""
    for name, value in _SYSCTLS.items():
        (Path("/proc/sys/net/ipv4") / name).write_text(value)


def _hardware(bridge: str) -> str:
    """A hardware address that a bridge keeps: else it takes over one of its links, and guests look for the old one."""
    digest = hashlib.sha256(bridge.encode()).hexdigest()
    return ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])


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
