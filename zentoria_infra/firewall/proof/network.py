"""The guests of a configuration at their bridges, with what each NIC lets through: who can meet whom."""

from __future__ import annotations

import bisect
import collections
import dataclasses
from collections.abc import Iterator, Mapping

from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import INTERNET, PRIVATE, STRANGER, Parties
from zentoria_infra.firewall.config import Configuration, Datacenter, Guest, Nic
from zentoria_infra.firewall.proof.semantics import DIRECTIONS, Direction, Filter, nic_filter, own_addresses
from zentoria_infra.firewall.sets.addresses import EVERYWHERE, Objects
from zentoria_infra.inventory.spans import NOTHING, Spans, intersection, normal, union


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class End:
    """A NIC of a container of the inventory.

    Args:
        name: the container.
        vmid: its VMID.
        guest: its firewall.
        nic: the NIC.
        filter: what passes there.
        own: the addresses that it may have; nothing for a NIC that the inventory does not know.
        stray: why it is not where the inventory has it; empty when it is.
    """

    name: str
    vmid: int
    guest: Guest
    nic: Nic
    filter: Filter
    own: Spans
    stray: str


class Where:
    """Tells whose an address is."""

    def __init__(self, parties: Parties) -> None:
        self.spans: Mapping[str, Spans] = {party.name: party.spans for party in parties}
        known = sorted((first, last, party.name) for party in parties for first, last in party.spans)
        self._starts = [first for first, _, _ in known]
        self._known = known

    def split(self, first: int, last: int) -> Iterator[tuple[int, int, str]]:
        """Cut a stretch of addresses into those of each party."""
        index = max(bisect.bisect_right(self._starts, first) - 1, 0)
        while index < len(self._known) and self._known[index][0] <= last:
            low, high, name = self._known[index]
            if high >= first:
                yield max(low, first), min(high, last), name
            index += 1


class Filters:
    """Makes filters, and keeps those of guests that have not changed.

    A filter is a function of the guest and of the datacenter's objects, and values are never changed: what is
    identical to what was there before has the same filter.
    """

    def __init__(self) -> None:
        self._objects: tuple[Datacenter, Objects] | None = None
        self._made: dict[int, tuple[Guest, Objects, dict[str, Filter]]] = {}

    def objects(self, datacenter: Datacenter) -> Objects:
        """The datacenter's objects by name."""
        if self._objects is None or self._objects[0] is not datacenter:
            self._objects = (datacenter, Objects(datacenter))
        return self._objects[1]

    def get(self, objects: Objects, guest: Guest) -> dict[str, Filter]:
        """The filters of a guest, by NIC."""
        kept = self._made.get(guest.vmid)
        if kept is not None and kept[0] is guest and kept[1] is objects:
            return kept[2]
        made = {nic.key: nic_filter(objects, guest, nic) for nic in guest.nics}
        self._made[guest.vmid] = (guest, objects, made)
        return made


class Network:
    """Containers of the inventory (``ends``), and guests that are none of them (``foreign``)."""

    def __init__(self, configuration: Configuration, parties: Parties, filters: Filters | None = None) -> None:
        filters = filters or Filters()
        self.configuration = configuration
        self.parties = parties
        self.objects = filters.objects(configuration.datacenter)
        self.where = Where(parties)
        self.ends: dict[tuple[str, str], End] = {}
        self.guests: dict[str, Guest] = {}
        self.foreign: list[tuple[Guest, Nic, Filter]] = []
        self.ours = {one.bridge for known in parties.attachments.values() for one in known if one.network}
        """Bridges that networks of zones.yaml are on."""
        self._names = {vmid: name for name, vmid in parties.vmids.items()}
        self._on_bridge: dict[tuple[str, str], list[End]] = collections.defaultdict(list)
        self._anybody: dict[Direction, Spans] = {}
        for guest in configuration.guests:
            self._put(guest, filters.get(self.objects, guest))

    def _put(self, guest: Guest, made: Mapping[str, Filter]) -> None:
        self._anybody.clear()
        name = self._names.get(guest.vmid)
        if name is None:
            self.foreign += [(guest, nic, made[nic.key]) for nic in guest.nics if nic.bridge in self.ours]
            return
        self.guests[name] = guest
        for nic in guest.nics:
            end = self._end(name, guest, nic, made[nic.key])
            self.ends[name, nic.key] = end
            self._on_bridge[name, nic.bridge].append(end)

    def _drop(self, guest: Guest) -> None:
        self.foreign = [one for one in self.foreign if one[0].vmid != guest.vmid]
        name = self._names.get(guest.vmid, "")
        self.guests.pop(name, None)
        for nic in guest.nics:
            self.ends.pop((name, nic.key), None)
            self._on_bridge.pop((name, nic.bridge), None)

    def of_nobody(self, nic: Nic) -> Spans:
        """What a guest that is not in the inventory may send as: addresses of nobody, and its own outside of ours.

        A second site's guests on the same bridge have addresses of another network.
        """
        outside = union(self.where.spans.get(INTERNET, NOTHING), self.where.spans.get(PRIVATE, NOTHING))
        return union(self.where.spans.get(STRANGER, NOTHING), intersection(own_addresses(nic), outside))

    def name_of(self, vmid: int) -> str:
        """The container with that VMID; empty when it is none of the inventory."""
        return self._names.get(vmid, "")

    def _end(self, name: str, guest: Guest, nic: Nic, made: Filter) -> End:
        known = next((one for one in self.parties.attachments[name] if one.nic == nic.key), None)
        stray = ""
        if known is None:
            stray = f"{nic.key} of {guest.vmid} is not in the inventory"
        elif known.bridge != nic.bridge:
            stray = f"{nic.key} of {guest.vmid} is on the bridge {nic.bridge}, and not on {known.bridge}"
        return End(name, guest.vmid, guest, nic, made, known.spans if known else NOTHING, stray)

    def neighbours(self, end: End, name: str) -> list[End]:
        """The NICs of another container that are on the same bridge."""
        return [] if end.stray else self._on_bridge.get((name, end.nic.bridge), [])

    def meets(self, end: End, name: str) -> bool:
        """Whether packets to or from that container are judged at both ends.

        They are where it has a NIC on the same bridge of ours; one that does not exist sends and takes nothing. On a
        public bridge anybody may carry its address, so that only this end counts.
        """
        if end.stray or end.nic.bridge not in self.ours:
            return False
        return any(one.bridge == end.nic.bridge for one in self.parties.attachments[name])

    def answers(self, end: End, name: str, direction: Direction) -> Spans:
        """What the other container lets through of what goes this way at this NIC."""
        found = NOTHING
        for other in self.neighbours(end, name):
            if direction == "out":
                found = union(found, other.filter.in_.may.anywhere(end.own))
            else:
                found = union(found, other.filter.out.may.anywhere(self.where.spans[end.name] or end.own))
        return found

    def anybody(self, direction: Direction) -> Spans:
        """What some container lets in of what goes out, or out of what comes in: no other one lets through more."""
        if direction not in self._anybody:
            found: set[Spans] = set()
            for end in self.ends.values():
                table = end.filter.in_.may if direction == "out" else end.filter.out.may
                found.update(cell.services for cell in table.cells)
            self._anybody[direction] = normal(span for services in found for span in services)
        return self._anybody[direction]

    def matrix(self) -> dict[tuple[str, str], Spans]:
        """What each party may send to each other one, over IPv4; pairs without anything are left out."""
        found: dict[tuple[str, str], Spans] = {}
        for end in self.ends.values():
            for side in DIRECTIONS:
                for first, last, cell in end.filter.side(side).may.within(EVERYWHERE):
                    if not cell.services:
                        continue
                    for _, _, name in self.where.split(first, last):
                        if name == end.name:
                            continue
                        services = cell.services
                        if name in self.parties.vmids and self.meets(end, name):
                            if side == "out":
                                continue  # counted at the end that takes it
                            services = intersection(services, self.answers(end, name, side))
                        pair = (name, end.name) if side == "in" else (end.name, name)
                        if services:
                            found[pair] = union(found.get(pair, NOTHING), services)
        return found


def assumed(compiled: Compiled) -> Configuration:
    """What is compiled, with the datacenter's switch on where the site leaves it to an administrator."""
    return assumed_on(compiled.configuration)


def assumed_on(configuration: Configuration) -> Configuration:
    """A configuration with the datacenter's switch on, unless it says something of it."""
    datacenter = configuration.datacenter
    if "enable" in datacenter.options:
        return configuration
    on = dataclasses.replace(datacenter, options={**datacenter.options, "enable": "1"})
    return dataclasses.replace(configuration, datacenter=on)
