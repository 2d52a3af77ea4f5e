"""Who can send and receive: the containers, the node, the gateway, the internet, and strangers on our networks.

Every IPv4 address belongs to exactly one party, so that a proof over parties is a proof over all addresses.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from zentoria_infra.inventory.spans import difference, normal

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory

NODE = "node"
GATEWAY = "gateway"
INTERNET = "internet"
"""Public addresses that are nobody's of the inventory."""
PRIVATE = "private"
"""Addresses that are not public, and in no network of ours: the home's network, and what no router forwards."""
OUTSIDE = "outside"
"""Not a party, but two: the internet and what is private. A flow from the internet lets both in."""
STRANGER = "stranger"
"""Addresses of our networks that nobody in the inventory has."""

Span = tuple[int, int]
"""First and last IPv4 address, as integers."""

EVERYTHING: Span = (0, 2**32 - 1)

NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a provider's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks, and makeshift networks of VPNs
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
"""What is not the internet's (IANA's registry of special-purpose addresses). The three networks for documentation are
not among them: nobody is there to be protected."""


@dataclasses.dataclass(frozen=True, slots=True)
class Party:
    """A name and the IPv4 addresses that belong to it and to no other party: sorted spans, not touching."""

    name: str
    spans: tuple[Span, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    """One NIC of a container: where it is plugged in and the addresses that it may use as a source.

    Args:
        nic: ``net0`` and so on.
        bridge: name of the bridge.
        spans: its own address; for a public NIC with DHCP everything that is not ours.
        network: name of the network of zones.yaml; empty for a public NIC.
    """

    nic: str
    bridge: str
    spans: tuple[Span, ...]
    network: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parties:
    """All parties.

    Args:
        containers: by name, in the order of VMIDs, with the addresses of all their NICs.
        vmids: VMID by name of the container.
        attachments: NICs by name of the container.
        others: node (when its address is known), gateway, internet, private, stranger.
    """

    containers: tuple[Party, ...]
    vmids: dict[str, int]
    attachments: dict[str, tuple[Attachment, ...]]
    others: tuple[Party, ...]
    _by_name: dict[str, Party] = dataclasses.field(init=False, repr=False, compare=False, default_factory=dict)

    def __iter__(self) -> Iterator[Party]:
        return iter((*self.containers, *self.others))

    def by_name(self, name: str) -> Party:
        """The party of that name. Raises KeyError."""
        if not self._by_name:  # made at the first question
            self._by_name.update((party.name, party) for party in reversed(tuple(self)))
        return self._by_name[name]


def parties_of(inventory: Inventory) -> Parties:
    """The parties of an inventory; pure.

    A public NIC that has its address from DHCP has no address of its own here: it belongs to the internet's.
    """
    networks = merge(_network(network.cidr) for network in inventory.networks)
    gateways = merge(
        _one(address)
        for address in {
            *(network.gateway for network in inventory.networks),
            *([inventory.site.gateway] if inventory.site.gateway else []),
        }
    )
    site = inventory.site
    internal = {network.name: site.bridges.internal for network in inventory.networks}
    attachments: dict[str, tuple[Attachment, ...]] = {}
    for container in inventory.containers:
        nics = [Attachment("net0", internal[container.network], (_one(container.address),), container.network)]
        if container.public is not None:
            own = container.public.address
            spans = subtract((EVERYTHING,), networks) if own == "dhcp" else (_one(ipaddress.IPv4Interface(own).ip),)
            nics.append(Attachment("net1", site.bridges.public, spans))
        attachments[container.name] = tuple(nics)
    containers = tuple(
        Party(name, merge(span for nic in nics if len(nic.spans) == 1 for span in nic.spans))
        for name, nics in attachments.items()
    )
    taken = merge(span for party in containers for span in party.spans)
    gateways = subtract(gateways, taken)
    node = subtract(merge(_one(address) for address in node_addresses(inventory)), merge([*taken, *gateways]))
    known = merge([*taken, *gateways, *node])
    private = merge(map(_network, NOT_PUBLIC))
    others = (
        *([Party(NODE, node)] if node else []),
        Party(GATEWAY, gateways),
        Party(INTERNET, subtract((EVERYTHING,), merge([*networks, *known, *private]))),
        Party(PRIVATE, subtract(private, merge([*networks, *known]))),
        Party(STRANGER, subtract(networks, known)),
    )
    return Parties(
        containers, {container.name: container.vmid for container in inventory.containers}, attachments, others
    )


def node_addresses(inventory: Inventory) -> tuple[ipaddress.IPv4Address, ...]:
    """The node's own addresses: the site's word, else the API's host when it is an address; never loopback."""
    site = inventory.site
    found: list[ipaddress.IPv4Address] = []
    for text in site.firewall.node_addresses or (site.proxmox.host,):
        try:
            address = ipaddress.ip_address(str(text))
        except ValueError:
            continue
        if isinstance(address, ipaddress.IPv4Address) and not address.is_loopback:
            found.append(address)
    return tuple(sorted(set(found)))


def is_public(first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> bool:
    """Whether all addresses of a stretch are public."""
    return not any(first <= one.broadcast_address and one.network_address <= last for one in NOT_PUBLIC)


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted spans that neither overlap nor touch."""
    return normal(spans)


def subtract(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """What of ``spans`` is in none of ``taken``; both need not be merged."""
    return difference(normal(spans), normal(taken))


def _one(address: ipaddress.IPv4Address) -> Span:
    number = int(address)
    return number, number


def _network(cidr: ipaddress.IPv4Network) -> Span:
    return int(cidr.network_address), int(cidr.broadcast_address)
