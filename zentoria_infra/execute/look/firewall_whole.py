"""Reads everything on a node that decides about packets, ours or not: a proof of it must leave nothing out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from zentoria_infra.execute.look.firewall_observe import READS, nics, whole_datacenter
from zentoria_infra.execute.look.node_needs import node_addresses
from zentoria_infra.execute.look.reading import readers
from zentoria_infra.firewall.compiled.parties import node_addresses as said_of_node
from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.proxmox import records
from zentoria_infra.proxmox.client import Proxmox


@dataclasses.dataclass(frozen=True, slots=True)
class Whole:
    """What was found.

    Args:
        configuration: all of it.
        machines: VMIDs of virtual machines, whose firewall is not read.
        addresses: of each node, of those of its interfaces that we may see.
    """

    configuration: Configuration
    machines: tuple[int, ...]
    addresses: Mapping[str, frozenset[str]]


def observe_whole(proxmox: Proxmox, inventory: Inventory) -> Whole:
    """The firewall of a node as it is: all objects of the datacenter, every container of ours, and all on our bridge.

    Calls: five for the datacenter, one an IP set and a group of it; three a node; one list; one configuration a
    container, and for each of ours or on one of our bridges four more and one an IP set.

    Raises:
        ZentoriaError: something of it cannot be read; a PermissionDeniedError names the right that is lacking.
    """
    names = {container.vmid: container.name for container in inventory.containers}
    there = proxmox.observe.resources()
    with readers(READS, "firewall") as pool:
        datacenter = pool.submit(whole_datacenter, proxmox.firewall)
        found = pool.map(
            lambda one: _guest(proxmox, one, names, inventory.site.bridges.internal),
            [one for one in there if one.kind == "lxc"],
        )
        guests = sorted((guest for guest in found if guest is not None), key=lambda guest: guest.vmid)
        names_of_nodes = sorted({inventory.node_of(container) for container in inventory.containers})
        nodes = tuple(pool.map(lambda name: proxmox.firewall.node(name, rules=True).node, names_of_nodes))
        addresses = node_addresses(proxmox.firewall, names_of_nodes, [*map(str, said_of_node(inventory))])
        configuration = Configuration(datacenter.result(), nodes, tuple(guests))
    return Whole(configuration, tuple(sorted(one.vmid for one in there if one.kind != "lxc")), addresses)


def _guest(proxmox: Proxmox, one: records.Guest, ours: Mapping[int, str], bridge: str) -> Guest | None:
    """A container's firewall; None for one that is not ours and on no bridge of ours."""
    plugged = nics(proxmox.observe.config(one.vmid, one.node).values)
    if one.vmid not in ours and all(nic.bridge != bridge for nic in plugged):
        return None
    name = ours.get(one.vmid, one.name or str(one.vmid))
    return proxmox.firewall.guest(one.vmid, name, plugged, node=one.node, aliases=True, all_ipsets=True).guest
