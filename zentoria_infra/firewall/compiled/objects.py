"""The named objects of a compiled firewall: aliases, IP sets, and what their comments begin with."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from zentoria_infra.firewall import names
from zentoria_infra.firewall.compiled.intents import DHCP, INTERNAL_NIC, PUBLIC_NIC
from zentoria_infra.firewall.compiled.parties import NOT_PUBLIC, node_addresses
from zentoria_infra.firewall.config import Alias, Entry, IpSet
from zentoria_infra.firewall.identity import PREFIX, identity, site_identity

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory
    from zentoria_infra.inventory.problems import Position

INTERNET_SET = "zt-internet"
"""Of a guest, where it has its objects in its own file."""
OUTSIDE_SET = "zt-outside"
EVERYTHING = ("0.0.0.0/1", "128.0.0.0/1")
"""All of IPv4 in halves: Proxmox refuses 0.0.0.0/0 in an IP set."""


def aliases(inventory: Inventory) -> tuple[Alias, ...]:
    """One alias a container, for its address on the internal bridge, by VMID."""
    site = inventory.site.id
    return tuple(
        Alias(names.alias_name(site, one.name), str(one.address), site_identity(site, "alias", one.name))
        for one in sorted(inventory.containers, key=lambda one: one.vmid)
    )


def internet_set(inventory: Inventory, name: str, word: str) -> IpSet:
    """Public addresses that are not ours: no private network, and no node, gateway or container of ours is in it."""
    ours = [*((str(cidr), "public") for cidr in NOT_PUBLIC), *_ours(inventory)]
    kept = [(cidr, title) for cidr, title in ours if title == "public" or not _is_private(cidr)]
    return _all_but(kept, IpSet(name, comment=f"{word} Public addresses, but for ours"))


def outside_set(inventory: Inventory, name: str, word: str) -> IpSet:
    """Everything but what is ours: the internet and private networks of others, as the home's."""
    return _all_but(_ours(inventory), IpSet(name, comment=f"{word} All but what is ours"))


def guests_set(inventory: Inventory, name: str, word: str) -> IpSet:
    """The addresses of all containers on the internal bridge."""
    members = tuple(Entry(str(one.address), comment=f"{word} {one.name}") for one in inventory.containers)
    return IpSet(name, members, f"{word} All containers of the site")


def _all_but(taken: Iterable[tuple[str, str]], empty: IpSet) -> IpSet:
    word = identity(empty.comment)
    entries = {half: Entry(half, comment=word) for half in EVERYTHING}
    for cidr, title in taken:
        entries.setdefault(cidr, Entry(cidr, nomatch=True, comment=f"{word} not {title}"))
    return dataclasses.replace(empty, entries=tuple(entries.values()))


def _is_private(cidr: str) -> bool:
    return any(ipaddress.IPv4Network(cidr).subnet_of(one) for one in NOT_PUBLIC)


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
    site = inventory.site.id
    networks = inventory.position("zones", "networks")
    found = dict.fromkeys(
        (
            f"{PREFIX}internet",
            f"{PREFIX}outside",
            *(site_identity(site, one) for one in ("internet", "outside", "guests")),
        ),
        networks,
    )
    for container in inventory.containers:
        at = inventory.position(container, "address")
        found[site_identity(site, "alias", container.name)] = at
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


def _filter_identity(container: Container, nic: str) -> str:
    return f"{PREFIX}ipfilter/{container.name}/{nic}"
