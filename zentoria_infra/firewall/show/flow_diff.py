"""What two inventories allow, compared: flows gained and lost, whatever happened to the rules. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zentoria_infra.firewall.compiled.intent import Kind
from zentoria_infra.firewall.compiled.intents import wanted
from zentoria_infra.firewall.compiled.parties import merge, subtract
from zentoria_infra.inventory.flows import egress_of
from zentoria_infra.inventory.problems import Position

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory

_Ends = tuple[str, str, str]
"""Source, destination and protocol."""

Ports = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """Ports of one destination that one source may reach, as one line of the inventory says.

    ``destination`` of egress is the host that is named: a packet filter cannot tell hosts apart, people can.
    """

    source: str
    destination: str
    protocol: str
    ports: Ports
    kind: Kind
    purpose: str
    origin: str
    position: Position

    def __str__(self) -> str:
        ports = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ports)
        return f"{self.source} -> {self.destination} {ports}/{self.protocol}"

    def as_data(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "source": self.source,
            "destination": self.destination,
            "protocol": self.protocol,
            "ports": [str(first) if first == last else f"{first}-{last}" for first, last in self.ports],
            "kind": self.kind.value,
            "purpose": self.purpose,
            "origin": self.origin,
            "at": str(self.position),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class FlowDiff:
    """What is allowed after and was not before, and the other way round; each in the order of its inventory."""

    gained: tuple[Reach, ...]
    lost: tuple[Reach, ...]

    @property
    def empty(self) -> bool:
        """Whether the same is allowed."""
        return not self.gained and not self.lost


def diff_flows(before: Inventory, after: Inventory) -> FlowDiff:
    """Compare what two inventories allow; pure. A port that two lines allow is told once, with the first of them."""
    old, new = tuple(reaches(before)), tuple(reaches(after))
    return FlowDiff(tuple(_beyond(new, _sum(old))), tuple(_beyond(old, _sum(new))))


def reaches(inventory: Inventory) -> Iterator[Reach]:
    """Everything that an inventory allows: flows, egress, and what egress needs, as name resolution.

    Raises:
        InventoryError: an egress entry names a container's address.
    """
    for want in wanted(inventory):
        one = want.intent
        if one.kind is not Kind.EGRESS:
            yield Reach(
                one.source, one.destination, one.protocol, one.ports, one.kind, one.purpose, one.origin, one.position
            )
    for container in inventory.containers:
        for path, entry in egress_of(container):
            ports = merge((port.first, port.last) for port in entry.ports)
            at = inventory.position(container, path)
            for host in entry.to:
                origin = f"egress of {container.name}"
                yield Reach(
                    container.name,
                    host,
                    entry.protocol,
                    ports,
                    Kind.EGRESS,
                    " ".join(entry.purpose.split()),
                    origin,
                    at,
                )


def _ends(one: Reach) -> _Ends:
    return one.source, one.destination, one.protocol


def _sum(items: Iterable[Reach]) -> Mapping[_Ends, Ports]:
    found: dict[_Ends, list[tuple[int, int]]] = {}
    for one in items:
        found.setdefault(_ends(one), []).extend(one.ports)
    return {ends: merge(ports) for ends, ports in found.items()}


def _beyond(items: Iterable[Reach], known: Mapping[_Ends, Ports]) -> Iterator[Reach]:
    """What goes beyond what is known."""
    told = dict(known)
    for one in items:
        there = told.get(_ends(one), ())
        if left := subtract(one.ports, there):
            told[_ends(one)] = merge((*there, *left))
            yield dataclasses.replace(one, ports=left)
