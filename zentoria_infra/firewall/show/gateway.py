"""The intents as a routed gateway sees them: addresses and ports in place of rules at both ends. Pure."""

from __future__ import annotations

import collections
import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator

from zentoria_infra.firewall.compiled.intent import Compiled, Intent
from zentoria_infra.firewall.compiled.intents import INTERNAL_NIC, Ports
from zentoria_infra.firewall.compiled.parties import (
    EVERYTHING,
    GATEWAY,
    INTERNET,
    PRIVATE,
    Parties,
    Span,
    merge,
    subtract,
)
from zentoria_infra.firewall.sets.port_lists import port_lists, port_text


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A container's address and the hardware address that it comes from: anything else is forged."""

    name: str
    address: str
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class Forward:
    """Leave to be forwarded. ``source`` or ``destination`` is an address, or ``internet``.

    Args:
        key: the intent's.
        ports: closed intervals.
    """

    key: str
    source: str
    destination: str
    protocol: str
    ports: Ports

    @property
    def way(self) -> str:
        """``in`` from the internet, ``out`` to it, ``between`` two addresses."""
        return "in" if self.source == INTERNET else "out" if self.destination == INTERNET else "between"

    @property
    def lists(self) -> tuple[str, ...]:
        """The ports as iptables takes them, in lists that are no longer than it takes."""
        return tuple(port_text(part) for part in port_lists(self.ports))

    @property
    def ranges(self) -> tuple[str, ...]:
        """The ports as nft takes them, one by one."""
        return tuple(str(first) if first == last else f"{first}-{last}" for first, last in self.ports)


@dataclasses.dataclass(frozen=True, slots=True)
class Unseen:
    """An intent whose packets the gateway does not forward, and why."""

    key: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Gateway:
    """What both forms are rendered from.

    Args:
        sources: containers on the internal bridge, by VMID.
        forwards: one for each intent that the gateway forwards, in their order.
        unseen: the other intents.
        internet: public addresses that are not ours.
        private: those that are not public, and not ours either.
    """

    sources: tuple[Source, ...]
    forwards: tuple[Forward, ...]
    unseen: tuple[Unseen, ...]
    internet: tuple[Span, ...]
    private: tuple[Span, ...]

    @property
    def ours(self) -> tuple[str, ...]:
        """Networks (CIDR) that are ours: who comes from there does not come from the internet."""
        return _networks(subtract((EVERYTHING,), (*self.internet, *self.private)))

    @property
    def not_internet(self) -> tuple[str, ...]:
        """Networks (CIDR) that what leaves for the internet does not lead to: ours, and private ones."""
        return _networks(subtract((EVERYTHING,), self.internet))

    @property
    def public(self) -> tuple[str, ...]:
        """The internet, as what leaves for it means it, as ranges of addresses."""
        return _ranges(self.internet)

    @property
    def outside(self) -> tuple[str, ...]:
        """Where what comes from the internet may come from, as ranges of addresses."""
        return _ranges(merge((*self.internet, *self.private)))

    @property
    def disjoint(self) -> tuple[Forward, ...]:
        """The forwards without what an earlier one lets through: nft's maps take no overlap."""
        taken: dict[tuple[str, str, str], list[tuple[int, int]]] = collections.defaultdict(list)
        found = []
        for one in self.forwards:
            earlier = taken[one.source, one.destination, one.protocol]
            if ports := subtract(one.ports, earlier):
                found.append(dataclasses.replace(one, ports=ports))
            earlier.extend(ports)
        return tuple(found)

    @property
    def covered(self) -> tuple[str, ...]:
        """Keys of the forwards that others let through whole."""
        left = {one.key for one in self.disjoint}
        return tuple(one.key for one in self.forwards if one.key not in left)


def gateway(compiled: Compiled, parties: Parties) -> Gateway:
    """The intents of a compiled firewall for the gateway of the internal networks.

    A public NIC is on another bridge: what goes through it never comes to this gateway.
    """
    addresses = {
        name: str(ipaddress.IPv4Address(nics[0].spans[0][0])) for name, nics in parties.attachments.items() if nics
    }
    own = parties.by_name(GATEWAY).spans
    forwards, unseen = [], []
    for intent in compiled.intents:
        if reason := _unseen(intent, own):
            unseen.append(Unseen(intent.key, reason))
            continue
        source = addresses.get(intent.source, intent.source)
        destination = addresses.get(intent.destination, intent.destination)
        forwards += [Forward(intent.key, source, one, intent.protocol, intent.ports) for one in destination.split(",")]
    return Gateway(
        tuple(_sources(compiled, addresses)),
        tuple(forwards),
        tuple(unseen),
        merge(parties.by_name(INTERNET).spans),
        merge(parties.by_name(PRIVATE).spans),
    )


def _networks(spans: Iterable[Span]) -> tuple[str, ...]:
    return tuple(
        str(network)
        for first, last in spans
        for network in ipaddress.summarize_address_range(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last))
    )


def _ranges(spans: Iterable[Span]) -> tuple[str, ...]:
    return tuple(f"{ipaddress.IPv4Address(first)}-{ipaddress.IPv4Address(last)}" for first, last in spans)


def _unseen(intent: Intent, own: tuple[Span, ...]) -> str:
    if {intent.source_nic, intent.destination_nic} - {"", INTERNAL_NIC}:
        return "through the public NIC, which is not behind this gateway"
    try:
        number = int(ipaddress.IPv4Address(intent.destination))
    except ValueError:
        return ""
    if any(first <= number <= last for first, last in own):
        return "to the gateway itself: that is INPUT, and yours"
    return ""


def _sources(compiled: Compiled, addresses: dict[str, str]) -> Iterator[Source]:
    for guest in compiled.configuration.guests:
        for nic in guest.nics:
            if nic.key == INTERNAL_NIC:
                yield Source(guest.name, addresses[guest.name], nic.mac.lower())
