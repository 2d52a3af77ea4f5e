"""The matrix as a picture for documents: one SVG that needs nothing else and has the reason of every entry. Pure."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Iterator, Sequence

from zentoria_infra.firewall.show.matrix import Allowed, Axis, Matrix, Use

_COLOURS = {
    Use.UI: ("#fff1cc", "#b7791f", "User interface"),
    Use.API: ("#d9f2e3", "#2f855a", "API"),
    Use.DATA: ("#d6e8fb", "#2b6cb0", "Data"),
    Use.METRICS: ("#ebe3fa", "#6b46c1", "Metrics"),
    Use.EGRESS: ("#fddede", "#c53030", "Egress"),
    Use.NETWORK: ("#e7ebf0", "#4a5568", "Name resolution"),
}
"""Of each use: the fill, the edge, and the words of the legend."""

_STYLE = """
.name { font: 600 12px system-ui, 'DejaVu Sans', sans-serif; fill: #1f2937 }
.zone { font: 600 10px system-ui, 'DejaVu Sans', sans-serif; fill: #475569; letter-spacing: .02em }
.port { font: 11px ui-monospace, 'DejaVu Sans Mono', monospace; fill: #111827; text-anchor: middle }
.text { font: 11px system-ui, 'DejaVu Sans', sans-serif; fill: #475569 }
.title { font: 700 16px system-ui, 'DejaVu Sans', sans-serif; fill: #111827 }
"""

_MARGIN = 16
_COLUMN = 42
_LINE = 15
_LEAST = 25
"""Least height of a row."""
_MOST = 6
"""How many characters of ``.port`` a column has room for, a little smaller than usual."""
_ZONE_GAP = 5
"""Between two zones, on both axes."""


def as_svg(matrix: Matrix, title: str) -> str:
    """Draw the matrix: sources as rows, destinations as columns, both grouped by zone.

    Args:
        matrix: what is allowed.
        title: above the picture, as "Home: who may reach whom".
    """
    return "\n".join(_Picture(matrix, title).lines()) + "\n"


_Entry = tuple[tuple[str, ...], Allowed]
"""The lines of one entry of a cell, and what it stands for."""


class _Picture:
    def __init__(self, matrix: Matrix, title: str) -> None:
        self._matrix = matrix
        self._title = title
        self._cells = {pair: _entries(items) for pair, items in matrix.cells().items()}
        zones = [axis.zone for axis in (*matrix.rows, *matrix.columns)]
        names = [axis.name for axis in (*matrix.rows, *matrix.columns)]
        self._zone_width = 6.2 * max(map(len, zones), default=0) + 14
        name_width = 8.2 * max(map(len, names), default=0) + 12
        self._left = _MARGIN + self._zone_width + name_width
        self._top = 70 + name_width
        self._x = _places(matrix.columns, [_COLUMN] * len(matrix.columns), self._left)
        heights = [self._height(row) for row in matrix.rows]
        self._y = _places(matrix.rows, heights, self._top)
        self._heights = dict(zip((row.name for row in matrix.rows), heights, strict=True))
        self._right = max((x + _COLUMN for x in self._x.values()), default=self._left)
        self._bottom = max((self._y[name] + height for name, height in self._heights.items()), default=self._top)

    def _height(self, row: Axis) -> int:
        most = max((_lines(self._cells.get((row.name, column.name), ())) for column in self._matrix.columns), default=0)
        return max(_LEAST, most * _LINE + 6)

    def lines(self) -> Iterator[str]:
        width, height = max(self._right, 640) + _MARGIN, self._bottom + 62
        pairs = sum(1 for cell in self._cells.values() if cell)
        count = f"{pairs} of {self._possible()} pairs may talk; what has no entry is denied, at both ends."
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" '
            f'width="{_n(width)}" height="{_n(height)}" role="img" aria-labelledby="t d">'
        )
        yield f'<title id="t">{_text(self._title)}</title>'
        yield f'<desc id="d">Sources are rows, destinations are columns. {_text(count)}</desc>'
        yield f"<style>{_STYLE}</style>"
        yield f'<rect width="{_n(width)}" height="{_n(height)}" rx="8" fill="#ffffff"/>'
        yield f'<text class="title" x="{_MARGIN}" y="30">{_text(self._title)}</text>'
        yield f'<text class="text" x="{_MARGIN}" y="{_n(self._top - 10)}">from \u2193 \u00a0 to \u2192</text>'
        yield from self._columns()
        yield from self._rows()
        for row in self._matrix.rows:
            for column in self._matrix.columns:
                yield from self._cell(row, column)
        yield from self._legend(count)
        yield "</svg>"

    def _possible(self) -> int:
        return sum(row.name != column.name for row in self._matrix.rows for column in self._matrix.columns)

    def _columns(self) -> Iterator[str]:
        for zone, axes in _by_zone(self._matrix.columns):
            first, last = self._x[axes[0].name], self._x[axes[-1].name] + _COLUMN
            yield _band(first, 46, last - first, 17)
            yield _fitted(zone, (first + last) / 2, 58, last - first - 4)
        for column in self._matrix.columns:
            x = self._x[column.name] + _COLUMN / 2 + 4
            y = self._top - 7
            yield (
                f'<text class="name" x="{_n(x)}" y="{_n(y)}" transform="rotate(-90 {_n(x)} {_n(y)})">'
                f"{_text(column.name)}</text>"
            )

    def _rows(self) -> Iterator[str]:
        for zone, axes in _by_zone(self._matrix.rows):
            first = self._y[axes[0].name]
            last = self._y[axes[-1].name] + self._heights[axes[-1].name]
            yield _band(_MARGIN, first, self._zone_width - 4, last - first)
            yield _fitted(zone, _MARGIN + self._zone_width / 2 - 2, (first + last) / 2 + 4, self._zone_width - 6)
        for row in self._matrix.rows:
            y = self._y[row.name] + self._heights[row.name] / 2 + 4
            yield (
                f'<text class="name" x="{_n(self._left - 8)}" y="{_n(y)}" text-anchor="end">{_text(row.name)}</text>'
            )

    def _cell(self, row: Axis, column: Axis) -> Iterator[str]:
        x, y, height = self._x[column.name], self._y[row.name], self._heights[row.name]
        fill = "#e2e8f0" if row.name == column.name else "#f8fafc"
        box = f'x="{_n(x)}" y="{_n(y)}" width="{_COLUMN}" height="{height}"'
        yield f'<rect {box} fill="{fill}" stroke="#e2e8f0"/>'
        entries = self._cells.get((row.name, column.name), ())
        at = y + (height - _lines(entries) * _LINE) / 2
        for texts, one in entries:
            paint, edge, _ = _COLOURS[one.use]
            tall = len(texts) * _LINE
            why = f"{one.source} \u2192 {one.destination} {''.join(texts)}: {one.intent.purpose} ({one.intent.origin})"
            yield (
                f"<g><title>{_text(why)}</title>"
                f'<rect x="{_n(x + 2)}" y="{_n(at + 0.5)}" width="{_COLUMN - 4}" height="{tall - 1}" rx="3" '
                f'fill="{paint}" stroke="{edge}" stroke-width=".7"/>'
            )
            for number, text in enumerate(texts):
                place = f'x="{_n(x + _COLUMN / 2)}" y="{_n(at + number * _LINE + 11.4)}"'
                smaller = ' style="font-size:10px"' if len(text) == _MOST else ""
                yield f'<text class="port" {place}{smaller}>{_text(text)}</text>'
            yield "</g>"
            at += tall

    def _legend(self, count: str) -> Iterator[str]:
        used = {one.use for one in self._matrix.allowed}
        x: float = _MARGIN
        y = self._bottom + 18
        for use, (fill, edge, label) in _COLOURS.items():
            if use in used:
                yield f'<rect x="{_n(x)}" y="{_n(y)}" width="16" height="12" rx="3" fill="{fill}" stroke="{edge}"/>'
                yield f'<text class="text" x="{_n(x + 22)}" y="{_n(y + 10)}">{label}</text>'
                x += 22 + 6.4 * len(label) + 20
        yield f'<text class="text" x="{_MARGIN}" y="{_n(y + 31)}">{_text(count)}</text>'


def _entries(items: Iterable[Allowed]) -> list[_Entry]:
    """What stands in a cell, in the order of the ports; none twice."""
    found: dict[tuple[int, int, str, Use], Allowed] = {}
    for one in items:
        for first, last in one.ports:
            # Two ports that touch are two entries: they need no more room than a range that is broken in two.
            parts = [(first, first), (last, last)] if last == first + 1 else [(first, last)]
            for low, high in parts:
                found.setdefault((low, high, one.protocol, one.use), one)
    return [
        (_broken(low, high, protocol), found[low, high, protocol, use]) for low, high, protocol, use in sorted(found)
    ]


def _broken(first: int, last: int, protocol: str) -> tuple[str, ...]:
    """A port or a range in lines that fit into a column."""
    tail = "" if protocol == "tcp" else f"/{protocol}"
    whole = (f"{first}" if first == last else f"{first}-{last}") + tail
    if len(whole) <= _MOST:
        return (whole,)
    parts = (f"{first}", tail) if first == last else (f"{first}-", f"{last}", tail)
    return tuple(part for part in parts if part)


def _lines(entries: Iterable[_Entry]) -> int:
    return sum(len(texts) for texts, _ in entries)


def _places(axes: Sequence[Axis], sizes: Sequence[float], start: float) -> dict[str, float]:
    """Where each begins, with a gap between zones."""
    found: dict[str, float] = {}
    at = start
    for number, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        if number and axes[number - 1].zone != axis.zone:
            at += _ZONE_GAP
        found[axis.name] = at
        at += size
    return found


def _by_zone(axes: Iterable[Axis]) -> Iterator[tuple[str, list[Axis]]]:
    for zone, items in itertools.groupby(axes, key=lambda axis: axis.zone):
        yield zone, list(items)


def _band(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="4" fill="#eef2f7"/>'


def _fitted(text: str, x: float, y: float, width: float) -> str:
    """A zone's name in the middle, smaller where there is too little room."""
    size = min(10.0, width / (0.64 * max(1, len(text))))
    smaller = f' style="font-size:{size:.1f}px"' if size < 10 else ""
    return f'<text class="zone" x="{_n(x)}" y="{_n(y)}" text-anchor="middle"{smaller}>{_text(text)}</text>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """Text that is only text, without what XML cannot hold."""
    return html.escape("".join(sign if sign.isprintable() or sign == "\u00a0" else " " for sign in text), quote=True)
