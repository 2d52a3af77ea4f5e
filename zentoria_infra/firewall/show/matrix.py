"""Who may reach whom, on which ports and why: the compiled intents as a matrix, and the matrix as text. Pure."""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zentoria_infra.firewall.compiled.intent import Compiled, Intent, Kind
from zentoria_infra.firewall.compiled.parties import INTERNET, STRANGER, Parties, merge
from zentoria_infra.inventory.flows import ports_of

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory, Port
    from zentoria_infra.inventory.problems import Position

Ports = tuple[tuple[int, int], ...]

FIELDS = (
    "source",
    "source_zone",
    "destination",
    "destination_zone",
    "protocol",
    "ports",
    "use",
    "kind",
    "purpose",
    "origin",
    "at",
)
"""Of a record, in the order of the columns in CSV."""

OUTSIDE = "outside"
"""In place of a zone, for what is no container."""


class Use(enum.StrEnum):
    """What is asked on a port."""

    UI = "ui"
    API = "api"
    DATA = "data"
    METRICS = "metrics"
    EGRESS = "egress"
    """Leave for the internet, or for what is near and no container."""
    NETWORK = "network"
    """Name resolution and DHCP."""


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """A row or a column: a container, or who else takes part."""

    name: str
    zone: str


@dataclasses.dataclass(frozen=True, slots=True)
class Allowed:
    """Some ports of one intent, which are asked for one use. ``source`` and ``destination`` are names of axes."""

    source: str
    destination: str
    protocol: str
    ports: Ports
    use: Use
    intent: Intent


@dataclasses.dataclass(frozen=True, slots=True)
class Matrix:
    """Everything that is allowed.

    Args:
        rows: sources, by zone in the order of zones.yaml, then by VMID; the outside last.
        columns: destinations, likewise.
        allowed: by source, then by destination, then as in zones.yaml.
    """

    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    allowed: tuple[Allowed, ...]

    def cells(self) -> Mapping[tuple[str, str], tuple[Allowed, ...]]:
        """What is allowed by source and destination; pairs without anything are left out."""
        found: dict[tuple[str, str], list[Allowed]] = {}
        for one in self.allowed:
            found.setdefault((one.source, one.destination), []).append(one)
        return {pair: tuple(items) for pair, items in found.items()}


def matrix_of(compiled: Compiled, parties: Parties, inventory: Inventory) -> Matrix:
    """The matrix of a compiled firewall; pure.

    Args:
        compiled: whose intents are shown.
        parties: of the same inventory: says who has an address.
        inventory: has the zones, and what the ports are for.
    """
    order = {zone.name: number for number, zone in enumerate(inventory.zones)}
    containers = sorted(inventory.containers, key=lambda one: (order.get(one.zone, len(order)), one.vmid))
    axes = [Axis(container.name, container.zone) for container in containers]
    uses = _Uses(inventory)
    found = [
        one for intent in compiled.intents if intent.kind is not Kind.GUARD for one in _allowed(intent, parties, uses)
    ]
    names = [axis.name for axis in axes]
    outside = [name for name in dict.fromkeys([INTERNET, *(party.name for party in parties.others)])]
    outside += sorted({end for one in found for end in (one.source, one.destination)} - {*names, *outside})
    place = {name: number for number, name in enumerate([*names, *outside])}
    found.sort(key=lambda one: (place[one.source], place[one.destination]))
    return Matrix(
        (*axes, *_outside(outside, (one.source for one in found))),
        (*axes, *_outside(outside, (one.destination for one in found))),
        tuple(found),
    )


def _outside(names: Iterable[str], used: Iterable[str]) -> Iterator[Axis]:
    there = set(used)
    return (Axis(name, OUTSIDE) for name in names if name in there)


class _Uses:
    """What ports are for, as their containers say."""

    def __init__(self, inventory: Inventory) -> None:
        self._ports: dict[tuple[str, str, int], Port] = {
            (container.name, port.protocol, number): port
            for container in inventory.containers
            for _, port in ports_of(container)
            for number in port.port.numbers
        }
        self._asked: dict[Position, frozenset[str]] = {
            inventory.position("zones", f"flows.{number}.exposes"): frozenset(flow.exposes)
            for number, flow in enumerate(inventory.flows)
            if flow.exposes
        }

    def of(self, intent: Intent) -> dict[Use, Ports]:
        """Ports of an intent by their use; a flow to what is exposed for some use has that use."""
        if intent.kind in (Kind.EGRESS, Kind.OPENING):
            return {Use.EGRESS: intent.ports}
        if intent.kind is not Kind.FLOW:
            return {Use.NETWORK: intent.ports}
        asked = self._asked.get(intent.position, frozenset())
        found: dict[Use, list[tuple[int, int]]] = {}
        for first, last in intent.ports:
            for number in range(first, last + 1):
                port = self._ports.get((intent.destination, intent.protocol, number))
                kinds = (asked & port.kinds or {port.kind}) if port is not None else {"api"}
                found.setdefault(Use(min(kinds)), []).append((number, number))
        return {use: merge(ports) for use, ports in found.items()}


def _allowed(intent: Intent, parties: Parties, uses: _Uses) -> Iterator[Allowed]:
    source, destination = _name(intent.source, parties), _name(intent.destination, parties)
    for use, ports in uses.of(intent).items():
        yield Allowed(source, destination, intent.protocol, ports, use, intent)


def _name(end: str, parties: Parties) -> str:
    """Whose an address is; an address of our networks that nobody has stays what it is."""
    try:
        number = int(ipaddress.IPv4Address(end))
    except ValueError:
        return end
    for party in parties:
        if any(first <= number <= last for first, last in party.spans):
            return end if party.name == STRANGER else party.name
    return end


def words(one: Allowed) -> list[str]:
    """The ports in words, one an interval: ``5432``, ``9300-9301``, ``53/udp``."""
    tail = "" if one.protocol == "tcp" else f"/{one.protocol}"
    return [f"{first}{tail}" if first == last else f"{first}-{last}{tail}" for first, last in one.ports]


def port_words(items: Iterable[Allowed]) -> list[tuple[str, Use]]:
    """The ports of a whole cell in words with their use, none twice, in the order of the ports."""
    found = {
        (ports, one.protocol, one.use): (word, one.use)
        for one in items
        for ports, word in zip(one.ports, words(one), strict=True)
    }
    return [found[key] for key in sorted(found)]


def records(matrix: Matrix) -> list[dict[str, Any]]:
    """What is allowed as plain data, one record a line."""
    zones = {axis.name: axis.zone for axis in (*matrix.rows, *matrix.columns)}
    return [
        {
            "source": one.source,
            "source_zone": zones[one.source],
            "destination": one.destination,
            "destination_zone": zones[one.destination],
            "protocol": one.protocol,
            "ports": ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in one.ports),
            "use": one.use.value,
            "kind": one.intent.kind.value,
            "purpose": one.intent.purpose,
            "origin": one.intent.origin,
            "at": str(one.intent.position),
        }
        for one in matrix.allowed
    ]


def as_data(matrix: Matrix) -> dict[str, Any]:
    """The matrix as plain data, for JSON."""
    return {
        "rows": [dataclasses.asdict(axis) for axis in matrix.rows],
        "columns": [dataclasses.asdict(axis) for axis in matrix.columns],
        "allowed": records(matrix),
    }


def as_csv(matrix: Matrix) -> str:
    """One line for everything that is allowed, with a head line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(matrix))
    return text.getvalue()


def as_markdown(matrix: Matrix) -> str:
    """A table of who reaches whom, then a table of why."""
    cells = matrix.cells()
    head = ["from \\ to", *(axis.name for axis in matrix.columns)]
    lines = [_md_row(head), _md_row(["---"] * len(head))]
    for row in matrix.rows:
        ports = [
            "·"
            if row.name == column.name
            else "<br>".join(word for word, _ in port_words(cells.get((row.name, column.name), ())))
            for column in matrix.columns
        ]
        lines.append(_md_row([f"**{row.name}**", *ports]))
    head = ["from", "to", "ports", "why", "said in"]
    lines += ["", _md_row(head), _md_row(["---"] * len(head))]
    for one in matrix.allowed:
        ports_text = ", ".join(words(one))
        why = f"{one.intent.purpose} ({one.intent.origin})"
        lines.append(_md_row([one.source, one.destination, ports_text, _md(why), _md(str(one.intent.position))]))
    return "\n".join(lines) + "\n"


def _md_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md(text: str) -> str:
    """Text that stays text in a cell of a table."""
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
