"""What an inventory wants allowed: one intent for each flow and pair of containers, for egress, DNS, DHCP, openings."""

from __future__ import annotations

import collections
import dataclasses
import ipaddress
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zentoria_infra.errors import InventoryError
from zentoria_infra.firewall.compiled.intent import Intent, Kind
from zentoria_infra.firewall.compiled.parties import is_public, merge, node_addresses, subtract
from zentoria_infra.firewall.identity import PREFIX
from zentoria_infra.inventory.flows import egress_of, expand_flows
from zentoria_infra.inventory.model import ALL, INTERNET
from zentoria_infra.inventory.problems import Position

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory

INTERNAL_NIC = "net0"
PUBLIC_NIC = "net1"
DHCP = "dhcp"

Ports = tuple[tuple[int, int], ...]
"""Closed intervals, sorted, not touching."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """An intent, and what its rules need to know besides.

    Args:
        intent: what is allowed.
        source_port: the one source port that DHCP has; empty for all else.
        shared_out: identity of a rule that all sources can share; empty when the flow names its source.
        shared_in: likewise for all destinations.
    """

    intent: Intent
    source_port: str = ""
    shared_out: str = ""
    shared_in: str = ""


def wanted(inventory: Inventory, openings: Collection[int] = ()) -> tuple[Wanted, ...]:
    """Everything that shall be allowed: flows in the order of zones.yaml, then the rest by VMID; pure.

    Args:
        inventory: a valid one.
        openings: VMIDs of the containers that may reach package sources now.

    Raises:
        InventoryError: an egress entry names a container's address: that would be a flow that zones.yaml lacks.
        KeyError: there is no container with the VMID of an opening.
    """
    return _Reader(inventory).read(frozenset(openings))


def towards_the_node(inventory: Inventory) -> tuple[Wanted, ...]:
    """What containers may want of the node itself, now or while package sources are open; pure.

    That is what leads to an address of the node, or to a gateway: whether that is the node, the inventory does not
    say.
    """
    return _Reader(inventory).towards_the_node()


class _Identities:
    """Makes identities. A second owner of the same one has ``-2`` behind it, and so on."""

    def __init__(self) -> None:
        self._owners: dict[str, dict[object, str]] = {}

    def __call__(self, owner: object, *words: str) -> str:
        plain = PREFIX + "/".join(words)
        owners = self._owners.setdefault(plain, {})
        if owner not in owners:
            owners[owner] = plain if not owners else f"{plain}-{len(owners) + 1}"
        return owners[owner]


@dataclasses.dataclass(frozen=True, slots=True)
class _About:
    """What an intent says of itself, apart from what is allowed."""

    key: str
    kind: Kind
    position: Position
    origin: str
    purpose: str

    def intent(
        self, source: str, destination: str, protocol: str, ports: Ports, source_nic: str, destination_nic: str
    ) -> Intent:
        return Intent(
            self.key,
            self.kind,
            source,
            destination,
            protocol,
            ports,
            source_nic,
            destination_nic,
            self.position,
            self.origin,
            one_line(self.purpose),
        )


class _Reader:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._identity = _Identities()
        self._by_name = {container.name: container for container in inventory.containers}
        self._by_address: dict[ipaddress.IPv4Address, tuple[str, str]] = {}
        for container in inventory.containers:
            self._by_address[container.address] = (container.name, INTERNAL_NIC)
            if container.public is not None and container.public.address != DHCP:
                self._by_address[ipaddress.IPv4Interface(container.public.address).ip] = (container.name, PUBLIC_NIC)
        self._networks = {network.name: network.cidr for network in inventory.networks}
        self._near = {*node_addresses(inventory), *(network.gateway for network in inventory.networks)}
        if inventory.site.gateway is not None:
            self._near.add(inventory.site.gateway)

    def read(self, openings: frozenset[int]) -> tuple[Wanted, ...]:
        by_vmid = {container.vmid: container for container in self._inventory.containers}
        opened = [by_vmid[vmid] for vmid in sorted(openings)]
        found = [*self._flows()]
        for container in self._inventory.containers:
            found.extend(self._egress(container))
            found.extend(self._lease(container))
        for container in opened:
            found.extend(self._opening(container))
        return tuple(found)

    def towards_the_node(self) -> tuple[Wanted, ...]:
        near = {str(address) for address in self._near if address not in self._by_address}
        every = (
            want
            for container in self._inventory.containers
            for want in (*self._egress(container), *self._opening(container))
        )
        return tuple(want for want in every if want.intent.destination in near)

    def _flows(self) -> Iterator[Wanted]:
        """One for each flow, pair and protocol: the ports of one flow belong together."""
        groups = itertools.groupby(
            expand_flows(self._inventory), key=lambda one: (one.number, one.source, one.destination, one.protocol)
        )
        for (number, source, destination, protocol), items in groups:
            parts = list(items)
            outside = source == INTERNET
            if not outside and source not in self._by_name:
                continue
            flow, first = self._inventory.flows[number], parts[0]
            head = f"row-{flow.row}" if flow.row is not None else "derived"
            key = self._identity(number, head, source, destination, protocol)
            yield Wanted(
                _About(key, Kind.FLOW, first.position, first.origin, first.purpose).intent(
                    source,
                    destination,
                    protocol,
                    merge((part.first, part.last) for part in parts),
                    "" if outside else INTERNAL_NIC,
                    PUBLIC_NIC if outside and self._by_name[destination].public is not None else INTERNAL_NIC,
                ),
                shared_out=self._identity(number, head, ALL, destination, protocol) if flow.source == ALL else "",
                shared_in=self._identity(number, head, source, ALL, protocol) if flow.destination == ALL else "",
            )

    def _egress(self, container: Container) -> Iterator[Wanted]:
        has_names = False
        origin = f"egress of {container.name}"
        for path, entry in egress_of(container):
            at = self._inventory.position(container, path)
            ports = merge((port.first, port.last) for port in entry.ports)
            key = self._identity(path, "egress", container.name, entry.protocol, str(ports[0][0]))
            about = _About(key, Kind.EGRESS, at, origin, entry.purpose)
            addresses = [address for address in map(_address, dict.fromkeys(entry.to)) if address is not None]
            networks = [ipaddress.IPv4Network(name) for name in dict.fromkeys(entry.to) if "/" in name]
            only_addresses = all(_address(name) is not None or "/" in name for name in entry.to)
            if not only_addresses:
                has_names = True
                yield Wanted(about.intent(container.name, INTERNET, entry.protocol, ports, default_nic(container), ""))
            for address in addresses:
                if address in self._by_address:
                    raise _own_container(container, self._by_address[address][0], address, at)
                # Beside a name, an address of the internet is in what the name was compiled to.
                if only_addresses or self._is_near(address):
                    one = dataclasses.replace(about, key=f"{key}/{address}")
                    yield self._to_address(container, address, entry.protocol, ports, one)
            for cidr in networks:
                if only_addresses or not is_public(cidr.network_address, cidr.broadcast_address):
                    one = dataclasses.replace(about, key=f"{key}/{cidr}")
                    yield from self._to_network(container, cidr, entry.protocol, ports, one)
        if has_names:
            yield from self._dns(container, Kind.DNS, ("dns", container.name), origin)

    def _dns(self, container: Container, kind: Kind, words: tuple[str, ...], origin: str) -> Iterator[Wanted]:
        """Name resolution at each name server of the site; at both ends when that is a container."""
        for number, address in enumerate(self._inventory.site.dns.nameservers):
            if self._is_own(container, address) or address in self._inventory.site.dns.nameservers[:number]:
                continue
            at = self._inventory.position("site", f"dns.nameservers.{number}")
            for protocol in ("udp", "tcp"):
                about = _About(self._identity(address, *words, protocol), kind, at, origin, "Name resolution")
                yield self._to_address(container, address, protocol, ((53, 53),), about)

    def _lease(self, container: Container) -> Iterator[Wanted]:
        """DHCP both ways: its answer may be a broadcast, which connection tracking takes for something new."""
        if container.public is None or container.public.address != DHCP:
            return
        at = self._inventory.position(container, "public.address")
        origin = f"public NIC of {container.name}"
        words = ("lease", container.name, "udp")
        ask = _About(self._identity(67, *words, "67"), Kind.LEASE, at, origin, "Address by DHCP")
        answer = dataclasses.replace(ask, key=self._identity(68, *words, "68"))
        yield Wanted(ask.intent(container.name, INTERNET, "udp", ((67, 67),), PUBLIC_NIC, ""), source_port="68")
        yield Wanted(answer.intent(INTERNET, container.name, "udp", ((68, 68),), "", PUBLIC_NIC), source_port="67")

    def _opening(self, container: Container) -> Iterator[Wanted]:
        """Package sources: the site's proxy, or the web; and name servers where a name must be found."""
        site = self._inventory.site
        origin = f"deploy of {container.name}"
        words = ("opening", container.name)
        at = self._inventory.position("site", "proxy" if site.proxy is not None else "package_sources")
        about = _About(self._identity("sources", *words, "tcp"), Kind.OPENING, at, origin, "Package sources")
        ports: Ports = ((80, 80), (443, 443))
        if site.proxy is not None:
            url = urlsplit(site.proxy)
            port = url.port or (443 if url.scheme == "https" else 80)
            ports = ((port, port),)
            if (address := _address(url.hostname or "")) is not None:
                if not self._is_own(container, address):
                    yield self._to_address(container, address, "tcp", ports, about)
                return
        elif site.package_sources != "template":
            uris = [uri for source in site.package_sources for uri in source.uris]
            yield from self._mirrors(container, uris, about, words)
        yield Wanted(about.intent(container.name, INTERNET, "tcp", ports, default_nic(container), ""))
        yield from self._dns(container, Kind.OPENING, (*words, "dns"), origin)

    def _mirrors(
        self, container: Container, uris: Iterable[str], about: _About, words: tuple[str, ...]
    ) -> Iterator[Wanted]:
        """Package sources at private addresses, which the internet does not have."""
        found: dict[ipaddress.IPv4Address, set[int]] = collections.defaultdict(set)
        for uri in uris:
            url = urlsplit(uri)
            address = _address(url.hostname or "")
            if address is not None and self._is_near(address) and not self._is_own(container, address):
                found[address].add(url.port or (443 if url.scheme == "https" else 80))
        for address, ports in found.items():
            key = self._identity(("sources", address), *words, "tcp", str(address))
            spans = merge((port, port) for port in ports)
            yield self._to_address(container, address, "tcp", spans, dataclasses.replace(about, key=key))

    def _to_address(
        self, container: Container, address: ipaddress.IPv4Address, protocol: str, ports: Ports, about: _About
    ) -> Wanted:
        name, nic = self._by_address.get(address, (str(address), ""))
        return Wanted(about.intent(container.name, name, protocol, ports, self._nic_towards(container, address), nic))

    def _to_network(
        self, container: Container, cidr: ipaddress.IPv4Network, protocol: str, ports: Ports, about: _About
    ) -> Iterator[Wanted]:
        """All of a network but what is ours in it. Cut up, it is several networks, in one list."""
        ours = [_span(one) for one in self._networks.values()]
        ours += [(int(one), int(one)) for one in (*self._near, *self._by_address)]
        left = [
            part
            for first, last in subtract([_span(cidr)], ours)
            for part in ipaddress.summarize_address_range(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last))
        ]
        if left:
            nic = self._nic_towards(container, left[0].network_address)
            names = ",".join(str(part) if part.prefixlen < 32 else str(part.network_address) for part in left)
            yield Wanted(about.intent(container.name, names, protocol, ports, nic, ""))

    def _is_own(self, container: Container, address: ipaddress.IPv4Address) -> bool:
        return self._by_address.get(address, ("", ""))[0] == container.name

    def _is_near(self, address: ipaddress.IPv4Address) -> bool:
        """Whether an address is none of the internet's: private, in a network of ours, the node's or a gateway's."""
        if address in self._near or not is_public(address, address):
            return True
        return any(address in cidr for cidr in self._networks.values())

    def _nic_towards(self, container: Container, address: ipaddress.IPv4Address) -> str:
        if address in self._networks[container.network]:
            return INTERNAL_NIC
        public = container.public.address if container.public is not None else DHCP
        if public != DHCP and address in ipaddress.IPv4Interface(public).network:
            return PUBLIC_NIC
        return default_nic(container)


def default_nic(container: Container) -> str:
    """The NIC with the default route: the public one when it has a gateway, of its own or from DHCP."""
    public = container.public
    return PUBLIC_NIC if public is not None and (public.gateway is not None or public.address == DHCP) else INTERNAL_NIC


def one_line(text: str) -> str:
    """Text as a comment can hold it: Proxmox cuts comments at the end of the line."""
    return " ".join(text.split())


def _address(name: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(name)
    except ValueError:
        return None


def _span(cidr: ipaddress.IPv4Network) -> tuple[int, int]:
    return int(cidr.network_address), int(cidr.broadcast_address)


def _own_container(container: Container, target: str, address: ipaddress.IPv4Address, at: Position) -> InventoryError:
    return InventoryError(
        f"compile the firewall of {container.name}",
        got=f"{at}: egress to {address}, which is the address of the container '{target}'",
        todo=f"write a flow from '{container.name}' to '{target}' in zones.yaml instead",
    )
