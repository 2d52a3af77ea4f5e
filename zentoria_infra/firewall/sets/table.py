"""Which services are accepted at which address: a table over all addresses, made in one sweep along them."""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from zentoria_infra.firewall.sets.addresses import EVERYWHERE, LAST
from zentoria_infra.firewall.sets.services import ANY
from zentoria_infra.inventory.spans import NOTHING, Spans, difference, intersection, union

Why = TypeVar("Why")


class Line(NamedTuple, Generic[Why]):
    """One rule, as far as the sweep goes: the first that matches decides."""

    accept: bool
    addresses: Spans
    services: Spans
    why: Why


@dataclasses.dataclass(frozen=True, slots=True)
class Cell(Generic[Why]):
    """What is accepted at the addresses of one stretch.

    Args:
        services: all of it.
        parts: the same, cut by what accepts it; not overlapping.
    """

    services: Spans
    parts: tuple[tuple[Spans, Why], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Table(Generic[Why]):
    """Cells over all of IPv4.

    Args:
        starts: first address of each stretch, ascending from 0.
        cells: what is accepted there; as many.
    """

    starts: Sequence[int]
    cells: Sequence[Cell[Why]]

    def at(self, address: int) -> Cell[Why]:
        """The cell of an address."""
        return self.cells[bisect.bisect_right(self.starts, address) - 1]

    def within(self, spans: Spans) -> Iterator[tuple[int, int, Cell[Why]]]:
        """Stretches (first and last address, cell) that make up some addresses."""
        for begin, last in spans:
            index = bisect.bisect_right(self.starts, begin) - 1
            first = begin
            while first <= last:
                end = self.starts[index + 1] - 1 if index + 1 < len(self.starts) else LAST
                yield first, min(end, last), self.cells[index]
                first = end + 1
                index += 1

    def anywhere(self, spans: Spans) -> Spans:
        """Services that are accepted at one of these addresses at least."""
        found = NOTHING
        for _, _, cell in self.within(spans):
            found = union(found, cell.services)
        return found

    def everywhere(self, spans: Spans) -> Spans:
        """Services that are accepted at all of these addresses; none when there are no addresses."""
        found: Spans | None = None
        for _, _, cell in self.within(spans):
            found = cell.services if found is None else intersection(found, cell.services)
        return found or NOTHING


def constant(services: Spans, why: Why) -> Table[Why]:
    """The same at every address."""
    return Table((0,), (Cell(services, ((services, why),) if services else ()),))


def sweep(lines: Sequence[Line[Why]]) -> Table[Why]:
    """First match wins, at every address.

    The lines that an address is in change only where one of them begins or ends; between, all addresses are alike.
    So the work is about linear in the number of intervals, unless many lines lie over each other.
    """
    active: list[int] = []
    changes: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        if line.addresses == EVERYWHERE:
            active.append(number)
            continue
        for first, last in line.addresses:
            changes.setdefault(first, []).append(number)
            changes.setdefault(last + 1, []).append(~number)
    changes.setdefault(0, [])
    changes.pop(LAST + 1, None)
    patterns: dict[tuple[tuple[bool, Spans], ...], _Pattern] = {}
    made: dict[tuple[int, ...], Cell[Why]] = {}
    starts: list[int] = []
    cells: list[Cell[Why]] = []
    for at in sorted(changes):
        for change in sorted(changes[at]):
            if change >= 0:
                bisect.insort(active, change)
            else:
                active.pop(bisect.bisect_left(active, ~change))
        here = tuple(active)
        cell = made.get(here)
        if cell is None:
            key = tuple([(lines[number].accept, lines[number].services) for number in here])
            pattern = patterns.get(key)
            if pattern is None:
                pattern = patterns[key] = _first_match(key)
            parts = tuple([(part, lines[here[index]].why) for part, index in pattern.parts])
            cell = made[here] = Cell(pattern.services, parts)
        if not cells or cells[-1] is not cell:
            starts.append(at)
            cells.append(cell)
    return Table(starts, cells)


class _Pattern(NamedTuple):
    services: Spans
    parts: tuple[tuple[Spans, int], ...]


@functools.lru_cache(maxsize=16384)  # containers that are alike have the same patterns
def _first_match(lines: tuple[tuple[bool, Spans], ...]) -> _Pattern:
    open_, total = ANY, NOTHING
    parts: list[tuple[Spans, int]] = []
    for index, (accept, services) in enumerate(lines):
        hit = intersection(open_, services)
        if not hit:
            continue
        if accept:
            parts.append((hit, index))
            total = union(total, hit)
        open_ = difference(open_, hit)
        if not open_:
            break
    return _Pattern(total, tuple(parts))
