"""The matrix: nothing is left out, nothing is made up, and the picture holds what the table holds."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port
from tests.firewall.fw_shipped import shipped
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.show.matrix import (
    FIELDS,
    OUTSIDE,
    Matrix,
    Use,
    as_csv,
    as_data,
    as_markdown,
    matrix_of,
    port_words,
)
from zentoria_infra.firewall.show.matrix_svg import as_svg
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.model import Inventory, Zone

SVG = "{http://www.w3.org/2000/svg}"


def made(of: Inventory) -> Matrix:
    return matrix_of(compile_firewall(of), parties_of(of), of)


def egress(to: str, number: int = 443) -> dict[str, Any]:
    return {"to": (to,), "ports": (number,), "purpose": "Test"}


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    of, compiled, parties = shipped()
    return matrix_of(compiled, parties, of)


def test_every_flow_is_in_it_and_nothing_else(matrix: Matrix) -> None:
    of, _, _ = shipped()
    expected = {
        (flow.source, flow.destination, flow.protocol, number)
        for flow in expand_flows(of)
        for number in range(flow.first, flow.last + 1)
    }
    found = {
        (one.source, one.destination, one.protocol, number)
        for one in matrix.allowed
        if one.use not in (Use.EGRESS, Use.NETWORK)
        for first, last in one.ports
        for number in range(first, last + 1)
    }
    assert found == expected
    out = {(one.source, one.destination, one.ports) for one in matrix.allowed if one.use is Use.EGRESS}
    assert out == {(name, "internet", ((443, 443),)) for name in ("backend", "ai", "proxy", "auth", "waf")}


def test_axes_are_grouped_by_zone_and_the_outside_is_last(matrix: Matrix) -> None:
    of, _, _ = shipped()
    order = [zone.name for zone in of.zones]
    inside = [axis for axis in matrix.rows if axis.zone != OUTSIDE]
    assert [axis.zone for axis in inside] == sorted((axis.zone for axis in inside), key=order.index)
    assert {axis.name for axis in inside} == {one.name for one in of.containers}
    assert [axis.name for axis in matrix.rows if axis.zone == OUTSIDE] == ["internet"]
    assert [axis.name for axis in matrix.columns[-2:]] == ["internet", "gateway"]


def test_a_port_has_the_use_that_it_is_asked_for(matrix: Matrix) -> None:
    uses = {(one.source, one.destination, ports): one.use for one in matrix.allowed for ports in one.ports}
    assert uses["backend", "vault", (8200, 8200)] is Use.API
    assert uses["backup", "vault", (8200, 8200)] is Use.DATA
    assert uses["logs", "vault", (8200, 8200)] is Use.METRICS
    assert uses["backend", "db", (5432, 5432)] is Use.DATA
    assert uses["backend", "db", (6432, 6432)] is Use.API
    assert uses["proxy", "frontend", (3000, 3000)] is Use.UI


def test_an_address_has_the_name_of_whose_it_is() -> None:
    leaves = (egress("10.10.47.254", 123), egress("192.0.2.1"), egress("10.10.33.3"), egress("example.org"))
    found = made(inventory([container(1, "a", port(80), egress=leaves), container(2, "b")], []))
    assert {one.destination for one in found.allowed} == {"gateway", "internet", "10.10.33.3"}
    assert [axis.name for axis in found.columns] == ["a", "b", "internet", "gateway", "10.10.33.3"]
    assert GATEWAY not in as_csv(found)


def test_markdown_is_a_grid_and_a_table_of_reasons(matrix: Matrix) -> None:
    grid, reasons = as_markdown(matrix).strip().split("\n\n")
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in grid.splitlines()]
    assert {len(line) for line in lines} == {len(matrix.columns) + 1}
    assert len(lines) == len(matrix.rows) + 2
    names = [cell.strip() for cell in lines[0]]
    backend = next(line for line in lines if line[0].strip() == "**backend**")
    assert backend[names.index("db")].strip() == "5432<br>6432"
    assert backend[names.index("backend")].strip() == "·"
    assert len(reasons.splitlines()) == len(matrix.allowed) + 2
    assert "| backend | db | 5432 | Database (row 7) | zones.yaml:" in reasons


def test_csv_and_json_say_the_same(matrix: Matrix) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(matrix))))
    assert rows == json.loads(json.dumps(as_data(matrix)))["allowed"]
    assert tuple(rows[0]) == FIELDS
    (one,) = [row for row in rows if (row["source"], row["destination"]) == ("proxy", "waf")]
    assert one["ports"] == "7422,8080" and one["at"].startswith("zones.yaml:")


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 - a text that was made right here
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def test_the_picture_holds_every_port_and_needs_nothing_else(matrix: Matrix) -> None:
    svg = as_svg(matrix, "Home: who may reach whom")
    found = texts(svg)
    cells = matrix.cells()
    words = [word for pair in cells.values() for word, _ in port_words(pair)]
    singles = [word for word in words if "-" not in word]
    pairs = [part for word in words if "-" in word for part in word.split("-")]
    shown = [text for text in found if re.fullmatch(r"\d+(/udp)?", text)]
    assert sorted(shown) == sorted(singles + pairs)
    for axis in (*matrix.rows, *matrix.columns):
        assert axis.name in found and axis.zone in found
    assert {"User interface", "API", "Data", "Metrics", "Egress", "Name resolution"} <= set(found)
    assert not re.search(r"href|<image|<script|url\(|@import", svg)
    assert "backend → db 5432: Database (row 7)" in svg


def test_nothing_in_the_picture_is_outside_of_it(matrix: Matrix) -> None:
    root = ET.fromstring(as_svg(matrix, "x"))  # noqa: S314 - a text that was made right here
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [one.attrib for one in root.iter(f"{SVG}rect") if "x" in one.attrib]
    assert len(boxes) > len(matrix.rows) * len(matrix.columns)
    for box in boxes:
        assert float(box["x"]) >= 0 and float(box["x"]) + float(box["width"]) <= width
        assert float(box["y"]) >= 0 and float(box["y"]) + float(box["height"]) <= height


def test_entries_of_a_cell_do_not_cover_each_other(matrix: Matrix) -> None:
    root = ET.fromstring(as_svg(matrix, "x"))  # noqa: S314 - a text that was made right here
    entries = [group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g")]
    places = [(float(e.attrib["x"]), float(e.attrib["y"]), float(e.attrib["height"])) for e in entries if e is not None]
    assert len(places) > 100
    by_column: dict[float, list[tuple[float, float]]] = {}
    for x, y, height in places:
        by_column.setdefault(x, []).append((y, height))
    for column in by_column.values():
        column.sort()
        for (y, height), (below, _) in itertools.pairwise(column):
            assert y + height <= below


def test_words_of_the_inventory_stay_words() -> None:
    nasty = '<script>alert("x")</script> & | `code`'
    of = inventory([container(1, "a"), container(2, "b", port(80))], [flow("a", "b", 80, purpose=nasty)])
    svg = as_svg(made(of), nasty + "\x07")
    ET.fromstring(svg)  # noqa: S314 - a text that was made right here
    assert "<script>" not in svg and "&lt;script&gt;" in svg and "\x07" not in svg
    (line,) = [line for line in as_markdown(made(of)).splitlines() if "alert" in line]
    assert r"\<script\>" in line and len(re.split(r"(?<!\\)\|", line)) == 7


def test_long_ranges_and_other_protocols_are_broken_into_lines() -> None:
    ports = [port("20000-20100"), port(5353, protocol="udp")]
    flows = [flow("a", "b", "20000-20100"), flow("a", "b", 5353, protocol="udp")]
    found = texts(as_svg(made(inventory([container(1, "a"), container(2, "b", *ports)], flows)), "x"))
    assert [text for text in found if text[:1].isdigit() or text == "/udp"][:4] == ["5353", "/udp", "20000-", "20100"]


def test_nothing_allowed_is_a_matrix_too() -> None:
    empty = made(inventory([container(1, "a"), container(2, "b")], []))
    assert empty.allowed == () and as_csv(empty) == ",".join(FIELDS) + "\n"
    assert "0 of 2 pairs may talk" in as_svg(empty, "x")


def test_a_zone_without_a_name_in_zones_yaml_comes_last() -> None:
    of = inventory([container(1, "a"), container(2, "b", zone="late")], [])
    found = made(of.model_copy(update={"zones": (Zone(name="core", purpose="x"),)}))
    assert [axis.zone for axis in found.rows] == ["core", "late"]
