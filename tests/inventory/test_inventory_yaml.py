"""YAML with positions, and the laws of laying one file over another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.inventory.problems import Position, Problem
from zentoria_infra.inventory.yaml.positions import Node, find, merge, node_of, parse_yaml


def parsed(text: str) -> Node:
    problems: list[Problem] = []
    node = parse_yaml(text, "f", problems)
    assert node is not None and not problems
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8192", 8192),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("9300-9301", "9300-9301"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("BC:24:11:00:04:04", "BC:24:11:00:04:04"),
        ("10.10.40.4", "10.10.40.4"),
        ("'8192'", "8192"),
        ('"a\\nb"', "a\nb"),
        ("[1, [2]]", (1, (2,))),
        ("{b: {c: d}}", {"b": {"c": "d"}}),
    ],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    found = parsed(f"a: {text}\n").plain()["a"]
    assert found == value and type(found) is type(value)


def test_positions_of_keys_and_values() -> None:
    root = parsed("top:\n  list:\n    - one\n    - {inner: two}\n  empty:\nnext: 1\n")
    found = find(root, ("top", "list", 1, "inner"))
    assert (found.node.value, str(found.key_at), str(found.node.at)) == ("two", "f:4:8", "f:4:15")
    assert str(find(root, ("top", "list", 0)).node.at) == "f:3:7"
    assert str(find(root, ("top", "empty")).node.at) == "f:5:3"
    assert find(root, ("top", "absent", "deeper")).used == 1


def test_a_number_finds_the_nth_entry_of_a_mapping() -> None:
    found = find(parsed("services:\n  db: {unit: a}\n  pool: {unit: b}\n"), ("services", 1, "unit"))
    assert (found.node.value, str(found.node.at)) == ("b", "f:3:16")


def test_duplicate_keys_are_told_and_the_first_stands() -> None:
    problems: list[Problem] = []
    node = parse_yaml("a: {b: 1, b: 2}\na: 3\n", "f", problems)
    assert node is not None and node.plain() == {"a": {"b": 1}}
    assert [str(item) for item in problems] == [
        "f:1:11: key 'b' is here twice; the first is in line 1",
        "f:2:1: key 'a' is here twice; the first is in line 1",
    ]


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("xyz", max_size=2)
keys = st.sampled_from(["a", "b", "c", "kind"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(keys, values, max_size=4)
kindless = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
kindless_mappings = st.dictionaries(st.sampled_from("abc"), kindless, max_size=3)


def laid(*layers: Any) -> Any:
    nodes = [node_of(layer, Position(f"layer{number}")) for number, layer in enumerate(layers)]
    merged = nodes[0]
    for node in nodes[1:]:
        merged = merge(merged, node)
    return merged.plain()


@given(mappings)
def test_an_empty_overlay_changes_nothing(base: dict[str, Any]) -> None:
    assert laid(base, {}) == base == laid({}, base)


@given(mappings, mappings)
def test_the_overlay_wins_and_the_rest_stays(base: dict[str, Any], over: dict[str, Any]) -> None:
    found = laid(base, over)
    kinds = {layer["kind"] for layer in (base, over) if isinstance(layer.get("kind"), str)}
    if len(kinds) == 2:
        assert found == over
        return
    assert found.keys() == base.keys() | over.keys()
    for key in found:
        if key not in over:
            assert found[key] == base[key]
        elif key not in base or not (isinstance(base[key], dict) and isinstance(over[key], dict)):
            assert found[key] == over[key]
        else:
            assert found[key] == laid(base[key], over[key])


@given(mappings, mappings)
def test_laying_twice_is_laying_once(base: dict[str, Any], over: dict[str, Any]) -> None:
    assert laid(base, over, over) == laid(base, over)


@given(kindless_mappings, kindless_mappings, kindless_mappings)
def test_layers_may_be_joined_from_either_side(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    # Where a scalar stands between two mappings it hides the first from the second; joined from the right it cannot.
    def hides(x: Any, y: Any, z: Any) -> bool:
        if isinstance(x, dict) and isinstance(z, dict) and not isinstance(y, dict):
            return True
        if not (isinstance(x, dict) and isinstance(y, dict) and isinstance(z, dict)):
            return False
        return any(hides(x[key], y[key], z[key]) for key in x.keys() & y.keys() & z.keys())

    if not hides(a, b, c):
        assert laid(laid(a, b), c) == laid(a, laid(b, c))


@given(mappings, mappings)
def test_values_keep_the_place_they_came_from(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(node_of(base, Position("base")), node_of(over, Position("over")))
    assert isinstance(merged.value, dict)
    for key, entry in merged.value.items():
        assert entry.at.file == ("over" if key in over else "base")


@given(mappings, mappings)
def test_layers_themselves_are_not_changed(base: dict[str, Any], over: dict[str, Any]) -> None:
    below, above = node_of(base, Position("base")), node_of(over, Position("over"))
    merge(below, above)
    assert below.plain() == base and above.plain() == over


@given(st.text(max_size=60))
def test_any_text_gives_a_mapping_or_a_problem(text: str) -> None:
    problems: list[Problem] = []
    node = parse_yaml(text, "f", problems)
    assert (node is None) <= bool(problems)
    assert all(item.file == "f" and item.message for item in problems)


SIGNS = [*"ab:-?[]{},&*!|>'\"%@`# \n\t\\x0.~=<", "---", "...", "%YAML 1.2\n", "!!"]


@given(st.lists(st.sampled_from(SIGNS)))
def test_any_heap_of_yaml_signs_gives_a_mapping_or_a_problem(parts: list[str]) -> None:
    problems: list[Problem] = []
    node = parse_yaml("".join(parts), "f", problems)
    assert (node is None) <= bool(problems)
