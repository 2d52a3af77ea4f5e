"""The fast reader makes exactly what the slow one makes, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.inventory.inventory_project import REPOSITORY
from zentoria_infra.inventory.problems import Problem
from zentoria_infra.inventory.yaml import fast as yaml_fast
from zentoria_infra.inventory.yaml.positions import MAX_DEPTH, Node, parse_yaml, plain_scalar

FILES = sorted((REPOSITORY / "zones.yaml", *(REPOSITORY / "inventory").rglob("*.yaml")))
TEXTS = [path.read_text() for path in FILES]
SCRAPS = [" ", "\n", "- ", ":", ": ", "{", "}", "[", "]", ",", "'", '"', "#", " #", "?", "|", ">", "&a", "*a", "!!str ",
          "~", "null", "yes", "0o17", "0x1f", "1_000", "017", "1e3", ".inf", "a:b", "a: b", "%", "@", "`", "\t", "\r",
          "\u0085", "\u2028", "é", "--- ", "...", "\\n", "=", "<<", "2026-01-01", "12:30:45", "9" * 50]  # fmt: skip


def fast(text: str) -> Node | None:
    return yaml_fast.read(text, "f.yaml", plain_scalar, MAX_DEPTH)


def slow(text: str) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    with mock.patch.object(yaml_fast, "read", return_value=None):
        return parse_yaml(text, "f.yaml", problems), problems


def same(text: str) -> None:
    found = fast(text)
    if found is not None and isinstance(found.value, dict):
        assert (found, []) == slow(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shipped_files_are_read_fast(path: Path) -> None:
    found = fast(path.read_text())
    assert found is not None
    assert (found, []) == slow(path.read_text())


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: &x 1\n", "a: *x\n", "a: !!str 1\n", "1: x\n", "a: 1\n--- \nb: 2\n", "a: |\n  x\n", "a: [\n",
     "%YAML 1.1\n---\na: 1\n", "a: \u2028b\n", "? a\n: b\n", 'a: "\\x41"\n', "", "a: " + "[" * 30 + "]" * 30],
)  # fmt: skip
def test_what_is_unusual_or_wrong_is_left_to_the_slow_reader(text: str) -> None:
    assert fast(text) is None


@settings(max_examples=300)
@given(
    st.sampled_from(TEXTS),
    st.floats(0, 1, exclude_max=True),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 8), st.sampled_from(SCRAPS) | st.text(max_size=4)), max_size=4
    ),
)
def test_of_spoilt_files_it_makes_the_same_or_nothing(
    text: str, start: float, edits: list[tuple[int, int, str]]
) -> None:
    lines = text.splitlines(keepends=True)
    part = "".join(lines[int(start * len(lines)) :][:25])
    for at, removed, scrap in edits:
        part = part[: at % (len(part) + 1)] + scrap + part[at % (len(part) + 1) + removed :]
    same(part)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*SCRAPS, "a", "b", "c: ", "\n  "]), max_size=14).map("".join))
@example("a: - b\n")
@example("a: b:c\n")
@example("{a: b:c, d: 'e' }\n")
@example("a: x\n # y\nb: z #q\n")
@example("a: 'x\n\n  y'\nb: x\n  y\n")
def test_of_random_text_it_makes_the_same_or_nothing(text: str) -> None:
    same("k: " + text)
    same(text)
