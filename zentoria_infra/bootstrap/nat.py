"""NAT on the node for guests that have only the internal network: whether it is there, and how it comes there."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Sequence
from typing import Any, Literal

from zentoria_infra.bootstrap import ssh as bootstrap_ssh
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.firewall.compiled.intents import INTERNAL_NIC, wanted
from zentoria_infra.firewall.compiled.parties import node_addresses
from zentoria_infra.inventory.model import INTERNET, Inventory
from zentoria_infra.proxmox.shell.ssh import SshConnection

Do = Literal["look", "install", "remove"]


class NatError(ZentoriaError):
    """NAT could not be looked at, put in place or taken away."""


@dataclasses.dataclass(frozen=True)
class Nat:
    """How it is on the node.

    Args:
        who: containers that reach something outside only by the node; without one there is nothing to do.
        bridge: that has the guests' gateway address; empty when the gateway is another machine.
        out: the device that leads outside.
        missing: what is missing, in words.
        lines: of ``/etc/network/interfaces``, below the bridge.
        spoils: commands that take away rules with which it cannot work.
        changed: what was changed, or would be.
    """

    who: tuple[str, ...] = ()
    bridge: str = ""
    out: str = ""
    missing: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    spoils: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether guests get out, as far as that is the node's business."""
        return not self.missing and not self.spoils

    def text(self) -> list[str]:
        """What is to be said about it; nothing when all is well."""
        if self.good:
            return []
        few = ", ".join(self.who[:3])
        names = f"{few} and {len(self.who) - 3} others" if len(self.who) > 4 else ", ".join(self.who)
        head = f"NAT: {names} reach what is outside only through the node, and it does not let them:"
        found = [head, *(f"  - {one}" for one in self.missing)]
        if self.spoils:
            found.append("  a rule translates packets on the guests' own bridges, so nothing comes back. Take it away:")
            found += [f"    {one}" for one in self.spoils]
        if self.missing:
            where = f"/etc/network/interfaces below `iface {self.bridge}`"
            found.append(f"`zentoria bootstrap --nat` puts this into {where}, and in force:")
            found += [f"    {one}" for one in self.lines]
        return found


def needed_by(inventory: Inventory) -> tuple[str, ...]:
    """Containers that shall reach, by the internal network, something that is neither in it nor the node itself. Pure.

    That is the web, a name server or an HTTP proxy: by a flow that stays, or while they are made.
    """
    networks = [network.cidr for network in inventory.networks]
    node = set(node_addresses(inventory))
    found: dict[str, None] = {}
    for one in wanted(inventory, [container.vmid for container in inventory.containers]):
        intent = one.intent
        if intent.source_nic == INTERNAL_NIC and not intent.destination_nic and _outside(intent.destination, networks):
            if intent.destination != INTERNET and ipaddress.IPv4Address(intent.destination) in node:
                continue
            found[intent.source] = None
    return tuple(found)


def _outside(destination: str, networks: Sequence[ipaddress.IPv4Network]) -> bool:
    if destination == INTERNET:
        return True
    try:
        return not any(ipaddress.IPv4Address(destination) in network for network in networks)
    except ValueError:
        return False  # a container


def carry_out(ssh: SshConnection, inventory: Inventory, do: Do, *, dry: bool = False, etc: str = "/etc") -> Nat:
    """Look at NAT on the node, put it in place, or take it away.

    Args:
        ssh: as root, with a shell.
        inventory: with the site.
        do: which of these.
        dry: change nothing.
        etc: the node's ``/etc``; another in tests.

    Raises:
        NatError: it could not be done.
        UnreachableError: SSH.
    """
    who = needed_by(inventory)
    if do != "remove" and not who:
        return Nat()
    answer = bootstrap_ssh.run_program(ssh, "nat", order(inventory, do, dry=dry, etc=etc))
    if "error" in answer:
        raise NatError(
            "give guests a way out by NAT" if do == "install" else "look at NAT for guests",
            on=ssh.target.where,
            got=str(answer["error"]),
            todo="put that right there, then run again; the README says which rules it takes",
        )
    lists = {key: tuple(map(str, answer[key])) for key in ("missing", "lines", "spoils", "changed")}
    return Nat(who, str(answer["bridge"]), str(answer["out"]), **lists)


def order(inventory: Inventory, do: Do, *, dry: bool = False, etc: str = "/etc") -> dict[str, Any]:
    """What :mod:`zentoria_infra.node.nat` is told."""
    gateways = {container.network: str(inventory.gateway(container)) for container in inventory.containers}
    networks = [
        {"cidr": str(network.cidr), "gateway": gateways[network.name]}
        for network in inventory.networks
        if network.name in gateways
    ]
    return {"do": do, "dry": dry, "site": inventory.site.id, "networks": networks, "etc": etc}
