"""The table of what happened, for the end of the test run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from tests.faults.faults_kinds import FAULTS, LEGEND, Fault

_SHORT = {"again": "ok", "error": "err", "n-a": "-", "FAILS": "FAIL"}
_SERVERS = ("lab", "fakepve")

_FEW = 3
"""Reads that are alike are one row, when they are more."""


class Cells:
    """Cells of the table that one test found out.

    Args:
        properties: the test's ``user_properties``. pytest hands them on with the test's report, from a worker process
            as well, if they are plain values.
    """

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(self, row: tuple[int, str], fault: Fault, server: str, seen: str, reason: str = "") -> None:
        """One cell; a row has a place in the table and a title."""
        self._properties.append(("fault", (*row, fault.title, server, seen, reason)))


class Table:
    """Cells by endpoint, fault and server.

    Args:
        cells: as :class:`Cells` made them, in any order.
    """

    def __init__(self, cells: Iterable[tuple[int, str, str, str, str, str]]) -> None:
        self._cells: dict[str, dict[str, dict[str, str]]] = {}
        self._reasons: set[str] = set()
        for _, row, fault, server, seen, reason in sorted(cells, key=lambda cell: (cell[0], _SERVERS.index(cell[3]))):
            self._cells.setdefault(row, {}).setdefault(fault, {})[server] = _SHORT[seen]
            if reason:
                self._reasons.add(reason)

    def lines(self) -> Iterator[str]:
        """The table; endpoints that differ in nothing but whose firewall it is are one row."""
        rows: dict[tuple[str, tuple[str, ...]], None] = {}
        alike: dict[tuple[str, ...], list[str]] = {}
        for title, cells in self._cells.items():
            values = tuple("/".join(dict.fromkeys(cells.get(one.title, {}).values())) or "?" for one in FAULTS)
            rows[_short(title), values] = None
        for title, values in rows:
            if title.startswith("GET "):
                alike.setdefault(values, []).append(title)
        for values, titles in alike.items():
            if len(titles) > _FEW:
                for title in titles:
                    del rows[title, values]
                rows = {(f"GET: {len(titles)} that are alike (1)", values): None} | rows
        width = max(len(title) for title, _ in rows)
        yield f"{'':{width}} " + " ".join(f"{one.title:>6}" for one in FAULTS)
        for title, values in rows:
            yield f"{title:{width}} " + " ".join(f"{one:>6}" for one in values)
        for titles in alike.values():
            if len(titles) > _FEW:
                names = ", ".join(one.removeprefix("GET ") for one in titles)
                yield from textwrap.wrap(f"(1) {names}.", 140, break_on_hyphens=False)
        yield "ok: done in the same run, where it is safe; err: a clear error; then the next run completes it. "
        yield f"-: {', '.join(sorted(self._reasons))}. Faults:"
        yield from LEGEND


def _short(title: str) -> str:
    for base in ("/nodes/{node}/lxc/{vmid}/firewall", "/cluster/firewall", "/nodes/{node}/firewall"):
        title = title.replace(f" {base}/", " {firewall}/")
    return title.replace("/nodes/{node}/lxc/{vmid}", "{guest}").replace("/nodes/{node}", "{node}")
