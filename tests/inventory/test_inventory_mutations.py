"""Whatever is done to the shipped files, reading them ends in an inventory or in an InventoryError."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inventory.inventory_project import REPOSITORY, copy_project
from zentoria_infra.inventory.flows import expand_flows, ports_of
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.problems import InvalidInventoryError

FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "zones.yaml", *(REPOSITORY / "inventory").rglob("*.yaml"))
)
SCRAPS = [
    "",
    " ",
    "\n",
    "- ",
    "x",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "404",
    "-1",
    "null",
    "true",
    "'",
    '"',
    "&a ",
    "*a",
    "all",
    "\t",
    "#",
    "!!str ",
    "é",
    "\x00",
    "9" * 50,
]

edits = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.floats(0, 1, allow_nan=False),
        st.integers(0, 12),
        st.sampled_from(SCRAPS) | st.text(max_size=3),
    ),
    min_size=1,
    max_size=4,
)
line_edits = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["drop", "swap", "double", "indent", "dedent"]),
    ),
    min_size=1,
    max_size=4,
)


def check(root: Path) -> None:
    try:
        inventory = load(root, "lab")
    except InvalidInventoryError as error:
        assert error.problems
        for item in error.problems:
            assert item.message and item.line >= 0 and "Traceback" not in item.message
            assert (root / item.file).exists() or item.line == 0, str(item)
        return
    for flow in expand_flows(inventory):
        target = inventory.by_name(flow.destination)
        exposed = {n for _, port in ports_of(target) for n in port.port.numbers}
        assert set(range(flow.first, flow.last + 1)) <= exposed
    assert len(inventory.container_order()) == len(inventory.containers)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits)
def test_random_characters(changes: list[tuple[str, float, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder))
        for file, place, removed, scrap in changes:
            text = (root / file).read_text()
            at = int(place * len(text))
            (root / file).write_text(text[:at] + scrap + text[at + removed :], errors="surrogateescape")
        check(root)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(line_edits)
def test_random_lines(changes: list[tuple[str, float, float, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder))
        for file, first, second, what in changes:
            lines = (root / file).read_text().splitlines(keepends=True)
            one, two = int(first * len(lines)), int(second * len(lines))
            if what == "drop":
                del lines[one : one + 1]
            elif what == "swap" and lines:
                lines[one], lines[two] = lines[two], lines[one]
            elif what == "double" and lines:
                lines.insert(two, lines[one])
            elif lines:
                lines[one] = "  " + lines[one] if what == "indent" else lines[one].removeprefix("  ")
            (root / file).write_text("".join(lines))
        check(root)
