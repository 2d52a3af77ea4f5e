"""What must hold of networks, gateways, and NICs on the public bridge."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.inventory.problems import Position, Problem, problem


def check_networks(inventory: Inventory) -> Iterator[Problem]:
    """Gateways that no machine can have, networks that share addresses, a node at a container's address."""
    for number, network in enumerate(inventory.networks):
        at = inventory.position("zones", f"networks.{network.name}.gateway")
        if network.gateway not in network.cidr:
            yield problem(at, f"the gateway {network.gateway} is outside {network.cidr}")
        yield from _ordinary(network.gateway, network.cidr, "the gateway", at)
        for other in inventory.networks[:number]:
            if other.cidr.overlaps(network.cidr):
                place = inventory.position("zones", f"networks.{network.name}.cidr")
                yield problem(place, f"{network.cidr} shares addresses with the network '{other.name}' ({other.cidr})")
    gateway, at = inventory.site.gateway, inventory.position(inventory.site, "gateway")
    if gateway is not None:
        if not any(gateway in network.cidr for network in inventory.networks):
            known = ", ".join(str(network.cidr) for network in inventory.networks)
            yield problem(at, f"the gateway {gateway} is outside all networks ({known})")
        for network in inventory.networks:
            yield from _ordinary(gateway, network.cidr, "the gateway", at)
    yield from _the_node(inventory)


def _ordinary(
    address: ipaddress.IPv4Address, cidr: ipaddress.IPv4Network, what: str, at: Position
) -> Iterator[Problem]:
    """Addresses that mean a whole network (RFC 1122, 3.2.1.3), where the prefix leaves any (RFC 3021)."""
    if cidr.prefixlen > 30:
        return
    if address == cidr.network_address:
        yield problem(at, f"{what} {address} is the network address of {cidr}")
    elif address == cidr.broadcast_address:
        yield problem(at, f"{what} {address} is the broadcast address of {cidr}")


def _the_node(inventory: Inventory) -> Iterator[Problem]:
    owners = {str(one.address): one.name for one in inventory.containers}
    pve, site = inventory.site.proxmox, inventory.site
    said = [("proxmox.host", pve.host), ("proxmox.ssh.host", pve.ssh.host or "")]
    said += [(f"firewall.node_addresses.{n}", str(one)) for n, one in enumerate(site.firewall.node_addresses)]
    for path, address in said:
        if address in owners:
            text = f"{address} is the address of the container '{owners[address]}', and cannot be the node's too"
            yield problem(inventory.position(site, path), text)


def check_public_nics(inventory: Inventory) -> Iterator[Problem]:
    """Addresses and hardware addresses of second NICs: those that no machine can have, or that another one has."""
    macs = {one.mac: one.name for one in inventory.containers}
    taken: dict[ipaddress.IPv4Address, str] = {}
    for container in inventory.containers:
        if container.public is None:
            continue
        mac = container.public_mac or ""
        owner = macs.setdefault(mac, f"the public NIC of {container.name}")
        if owner != f"the public NIC of {container.name}":
            at = inventory.position(container, "public.mac" if container.public.mac else "public")
            yield problem(at, f"MAC address {mac} is used twice; also by {owner}")
        if container.public.address != "dhcp":
            yield from _public_address(inventory, container, taken)


def _public_address(
    inventory: Inventory, container: Container, taken: dict[ipaddress.IPv4Address, str]
) -> Iterator[Problem]:
    nic = container.public
    assert nic is not None  # noqa: S101 -- for the type: who calls has looked
    at = inventory.position(container, "public.address")
    try:
        one = ipaddress.IPv4Interface(nic.address)
    except ValueError:
        yield problem(at, f"'{nic.address}' is not an IPv4 address with prefix")
        return
    if one.ip.is_multicast or one.ip.is_loopback or one.ip.is_unspecified or one.ip.is_reserved:
        yield problem(at, f"{one.ip} is an address that no machine can have on a network")
    yield from _ordinary(one.ip, one.network, "address", at)
    for network in inventory.networks:
        if one.network.overlaps(network.cidr):
            text = (
                f"{one.network} shares addresses with the network '{network.name}' ({network.cidr}): it is another one"
            )
            yield problem(at, text)
    other = taken.setdefault(one.ip, container.name)
    if other != container.name:
        yield problem(at, f"address {one.ip} is used twice; also by the public NIC of '{other}'")
    if nic.gateway is not None:
        place = inventory.position(container, "public.gateway")
        if nic.gateway not in one.network:
            yield problem(place, f"the gateway {nic.gateway} is outside {one.network}")
        elif nic.gateway == one.ip:
            yield problem(place, f"the gateway {nic.gateway} is this NIC's own address")
        else:
            yield from _ordinary(nic.gateway, one.network, "the gateway", place)
