"""What configurations allow, as sets that can be united and compared: by pair of parties, and who can pretend.

Nothing is written out pair by pair. A set remembers the networks that it is made of, and asks them where it must.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

from zentoria_infra.firewall.compiled.parties import STRANGER, Parties
from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.firewall.proof.network import End, Filters, Network
from zentoria_infra.firewall.proof.semantics import DIRECTIONS, Blame, Direction, Filter
from zentoria_infra.firewall.sets.addresses import EVERYWHERE
from zentoria_infra.inventory.spans import NOTHING, Spans, difference, intersection, union

Stretches = Iterable[tuple[int, int, Spans]]
"""First and last address, and services."""


@dataclasses.dataclass(frozen=True, slots=True)
class Excess:
    """Something that one set allows and another does not.

    Args:
        kind: a packet of IPv4 or IPv6 between two parties, a source that is not the guest's, or a guest without filter.
        source: party that sends; the guest when it is about no pair.
        destination: party that receives; empty when it is about no pair.
        services: what is too much.
        guest: whose firewall it is.
        blame: what lets it through; None for forged sources.
    """

    kind: Literal["packets", "packets6", "forged", "unfiltered"]
    source: str
    destination: str
    services: Spans
    guest: Guest
    blame: Blame | None


class Allowed:
    """What the configurations of some networks allow, together."""

    def __init__(self, *networks: Network) -> None:
        self.networks = networks

    def __or__(self, other: Allowed) -> Allowed:
        return Allowed(*self.networks, *other.networks)

    def __le__(self, other: Allowed) -> bool:
        return next(self.beyond(other), None) is None

    def pairs(self) -> dict[tuple[str, str], Spans]:
        """Services of IPv4 by source and destination; pairs without any are left out."""
        found: dict[tuple[str, str], Spans] = {}
        for network in self.networks:
            for pair, services in network.matrix().items():
                found[pair] = union(found.get(pair, NOTHING), services)
        return found

    def beyond(self, other: Allowed) -> Iterator[Excess]:
        """What is in this set and not in the other."""
        for network in self.networks:
            for end in network.ends.values():
                yield from other.lacks(network, end)
            for guest, nic, made in network.foreign:
                yield from other.lacks_foreign(network, guest, nic.key, made)

    def lacks(self, network: Network, end: End, was: Filter | None = None) -> Iterator[Excess]:
        """What a NIC of another network lets through or can pretend, and this set does not allow.

        Args:
            network: that network.
            end: the NIC.
            was: only what this filter did not let through is looked at.
        """
        here = [known for one in self.networks if (known := one.ends.get((end.name, end.nic.key))) is not None]
        known_filters = [*(one.filter for one in here), *([was] if was is not None else [])]
        yield from _pretends(end.name, end.guest, end.filter, end.own, known_filters)
        if end.filter.off and not any(one.filter.off for one in here):
            return  # told; pair by pair it would be everything
        for direction in DIRECTIONS:
            side = end.filter.side(direction)
            before = was.side(direction) if was is not None else None
            for services, blame in side.six:
                left = services
                for one in known_filters:
                    for passed, _ in one.side(direction).six:
                        left = difference(left, passed)
                if left:
                    pair = (end.name, STRANGER) if direction == "out" else (STRANGER, end.name)
                    yield Excess("packets6", *pair, left, end.guest, blame)
            for first, last, cell in side.may.within(EVERYWHERE):
                if not cell.services:
                    continue
                stretches: Stretches = [(first, last, cell.services)]
                if before is not None:
                    stretches = [
                        (low, high, left)
                        for low, high, old in before.may.within(((first, last),))
                        if (left := difference(cell.services, old.services))
                    ]
                for low, high, services in stretches:
                    for left, party in self._too_much(network, end, direction, (low, high), services):
                        blame = next(why for part, why in cell.parts if intersection(part, left))
                        pair = (end.name, party) if direction == "out" else (party, end.name)
                        yield Excess("packets", *pair, left, end.guest, blame)

    def lacks_foreign(self, network: Network, guest: Guest, nic: str, made: Filter) -> Iterator[Excess]:
        """What a guest that is not in the inventory can pretend, and this set does not allow."""
        here = [
            known
            for one_network in self.networks
            for one, key, known in one_network.foreign
            if (one.vmid, key.key) == (guest.vmid, nic)
        ]
        plugged = next((one for one in guest.nics if one.key == nic), None)
        own = network.of_nobody(plugged) if plugged is not None else NOTHING
        yield from _pretends(guest.name or str(guest.vmid), guest, made, own, here)

    def _too_much(
        self, network: Network, end: End, direction: Direction, stretch: tuple[int, int], services: Spans
    ) -> Iterator[tuple[Spans, str]]:
        """Cut a stretch of addresses by party; what passes there at both ends, without what this set allows."""
        for first, last, party in network.where.split(*stretch):
            if party == end.name:
                continue
            passes = services
            if _is_judged_twice(network, end, party):
                passes = intersection(services, network.answers(end, party, direction))
            if passes and (left := self._without(end, direction, party, ((first, last),), passes)):
                yield left, party

    def _without(self, end: End, direction: Direction, party: str, spans: Spans, services: Spans) -> Spans:
        """Services that this set does not allow at some of these addresses."""
        rest = [(first, last, services) for first, last in spans]
        for network in self.networks:
            known = network.ends.get((end.name, end.nic.key))
            if known is None:
                continue
            answers = network.answers(known, party, direction) if _is_judged_twice(network, known, party) else None
            left: list[tuple[int, int, Spans]] = []
            for first, last, open_ in rest:
                for low, high, cell in known.filter.side(direction).may.within(((first, last),)):
                    allowed = cell.services if answers is None else intersection(cell.services, answers)
                    if more := difference(open_, allowed):
                        left.append((low, high, more))
            rest = left
        found = NOTHING
        for _, _, more in rest:
            found = union(found, more)
        return found


def _is_judged_twice(network: Network, end: End, party: str) -> bool:
    return party in network.parties.vmids and network.meets(end, party)


def _pretends(name: str, guest: Guest, made: Filter, own: Spans, known: list[Filter]) -> Iterator[Excess]:
    """A filter that is off, or lets more sources out, where none of the known ones does."""
    if made.off:
        if not any(one.off for one in known):
            yield Excess("unfiltered", name, "", NOTHING, guest, Blame(option=made.off))
        return
    left = difference(made.sources, own)
    for one in known:
        left = difference(left, one.sources)
    if left:
        yield Excess("forged", name, "", NOTHING, guest, made.source_blame)
    if made.any_mac and not any(one.any_mac for one in known):
        yield Excess("forged", name, "", NOTHING, guest, Blame(option="macfilter"))


def allowed(configuration: Configuration, parties: Parties, filters: Filters | None = None) -> Allowed:
    """What a configuration allows; pure."""
    return Allowed(Network(configuration, parties, filters))
