"""From an inventory to the firewall's objects in Proxmox: default deny both ways, and a pair of rules for each flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.intents import INTERNAL_NIC, PUBLIC_NIC, wanted
from zentoria_infra.firewall.compiled.layout import Layout, datacenter_layout, guest_layout
from zentoria_infra.firewall.compiled.node_rules import rules_by_hand
from zentoria_infra.firewall.compiled.objects import ipfilters
from zentoria_infra.firewall.compiled.parties import node_addresses
from zentoria_infra.firewall.config import Configuration, Guest, Nic, Node

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory

GUEST_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "enable": "1",
        "policy_in": "DROP",
        "policy_out": "DROP",
        "dhcp": "0",
        "ipfilter": "1",
        "macfilter": "1",
        "ndp": "0",
        "radv": "0",
    }
)
"""Of every guest. Those whose default is good are written too: what is written can be compared."""


def compile_firewall(inventory: Inventory, openings: Collection[int] = ()) -> Compiled:
    """The firewall of an inventory; pure, and the same for the same inventory.

    Args:
        inventory: a valid one.
        openings: VMIDs of the containers that may reach package sources now.

    Raises:
        InventoryError: an egress entry names a container's address.
        KeyError: there is no container with the VMID of an opening.
    """
    wants = wanted(inventory, openings)
    shared = inventory.site.firewall.objects == "datacenter"
    layout = (datacenter_layout if shared else guest_layout)(inventory, wants)
    guests = tuple(_guest(inventory, container, layout) for container in _by_vmid(inventory))
    return Compiled(
        Configuration(layout.datacenter, _nodes(inventory), guests),
        tuple(want.intent for want in wants),
        MappingProxyType(
            layout.positions
            | {str(container.vmid): inventory.position(container) for container in inventory.containers}
        ),
        () if shared else rules_by_hand(inventory),
        tuple(map(str, node_addresses(inventory))),
    )


def nics(inventory: Inventory, container: Container) -> tuple[Nic, ...]:
    """A container's NICs as its configuration in Proxmox has them."""
    prefix = inventory.network(container.network).cidr.prefixlen
    bridges = inventory.site.bridges
    found = [Nic(INTERNAL_NIC, bridges.internal, True, container.mac, f"{container.address}/{prefix}")]
    if container.public is not None and container.public_mac is not None:
        found.append(Nic(PUBLIC_NIC, bridges.public, True, container.public_mac, container.public.address))
    return tuple(found)


def _guest(inventory: Inventory, container: Container, layout: Layout) -> Guest:
    return Guest(
        vmid=container.vmid,
        name=container.name,
        node=inventory.node_of(container),
        nics=nics(inventory, container),
        options=GUEST_OPTIONS,
        ipsets=(*ipfilters(inventory, container), *layout.ipsets[container.name]),
        rules=layout.rules[container.name],
    )


def _by_vmid(inventory: Inventory) -> list[Container]:
    return sorted(inventory.containers, key=lambda container: container.vmid)


def _nodes(inventory: Inventory) -> tuple[Node, ...]:
    return tuple(Node(name) for name in sorted({inventory.node_of(container) for container in inventory.containers}))
