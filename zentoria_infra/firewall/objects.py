"""The named objects of a compiled firewall: aliases, IP sets, and what their comments begin with."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zentoria_infra.firewall.config import Alias, Entry, IpSet
from zentoria_infra.firewall.identity import PREFIX
from zentoria_infra.firewall.intents import DHCP, INTERNAL_NIC, PUBLIC_NIC
from zentoria_infra.firewall.parties import node_addresses

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory
    from zentoria_infra.inventory.problems import Position

INTERNET_SET = "zt-internet"
INTERNET_IDENTITY = f"{PREFIX}internet"
EVERYTHING = ("0.0.0.0/1", "128.0.0.0/1")
"""All of IPv4 in halves: Proxmox refuses 0.0.0.0/0 in an IP set."""


def alias_name(container: str) -> str:
    """Name of a container's alias; a container's name has 31 characters at most, an alias 64."""
    return f"zt-{container}"


def aliases(inventory: Inventory) -> tuple[Alias, ...]:
    """One alias a container, for its address on the internal bridge, by VMID."""
    return tuple(
        Alias(alias_name(one.name), str(one.address), _alias_identity(one))
        for one in sorted(inventory.containers, key=lambda one: one.vmid)
    )


def internet_set(inventory: Inventory) -> IpSet:
    """Everything but what is ours: no network, node, gateway or container of ours is in it."""
    entries = {half: Entry(half, comment=INTERNET_IDENTITY) for half in EVERYTHING}
    for cidr, title in _ours(inventory):
        entries.setdefault(cidr, Entry(cidr, nomatch=True, comment=f"{INTERNET_IDENTITY} not {title}"))
    return IpSet(INTERNET_SET, tuple(entries.values()), f"{INTERNET_IDENTITY} All but what is ours")


def ipfilters(inventory: Inventory, container: Container) -> tuple[IpSet, ...]:
    """Per NIC the sources that it may use: its own address; where DHCP gives that, all that is in no network of ours.

    With 0.0.0.0/1 the latter has 0.0.0.0 too, from which a DHCP client asks.
    """
    word = _filter_identity(container, INTERNAL_NIC)
    found = [IpSet(f"ipfilter-{INTERNAL_NIC}", (Entry(str(container.address), comment=word),), word)]
    if container.public is not None:
        word = _filter_identity(container, PUBLIC_NIC)
        if container.public.address == DHCP:
            entries = tuple(Entry(half, comment=word) for half in EVERYTHING) + tuple(
                Entry(str(network.cidr), nomatch=True, comment=f"{word} not network {network.name}")
                for network in inventory.networks
            )
        else:
            entries = (Entry(str(ipaddress.IPv4Interface(container.public.address).ip), comment=word),)
        found.append(IpSet(f"ipfilter-{PUBLIC_NIC}", entries, word))
    return tuple(found)


def object_positions(inventory: Inventory) -> dict[str, Position]:
    """Where the objects' contents are said, by identity."""
    found = {INTERNET_IDENTITY: inventory.position("zones", "networks")}
    for container in inventory.containers:
        at = inventory.position(container, "address")
        found[_alias_identity(container)] = at
        found[_filter_identity(container, INTERNAL_NIC)] = at
        if container.public is not None:
            found[_filter_identity(container, PUBLIC_NIC)] = inventory.position(container, "public.address")
    return found


def _ours(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """Networks and addresses that are not the internet's; some may come twice."""
    networks = [network.cidr for network in inventory.networks]
    for network in inventory.networks:
        yield str(network.cidr), f"network {network.name}"
    singles = [(address, "the node") for address in node_addresses(inventory)]
    if inventory.site.gateway is not None:
        singles.append((inventory.site.gateway, "the gateway"))
    singles += [(network.gateway, f"the gateway of {network.name}") for network in inventory.networks]
    singles += [
        (ipaddress.IPv4Interface(container.public.address).ip, f"container {container.name}")
        for container in inventory.containers
        if container.public is not None and container.public.address != DHCP
    ]
    for address, title in singles:
        if not any(address in cidr for cidr in networks):
            yield str(address), title


def _alias_identity(container: Container) -> str:
    return f"{PREFIX}alias/{container.name}"


def _filter_identity(container: Container, nic: str) -> str:
    return f"{PREFIX}ipfilter/{container.name}/{nic}"
