"""The shipped files, spoilt: keys dropped, doubled and renamed, types and references swapped, wild values, broken text.

A file is held as a tree in which a mapping is a list of pairs, so that a key can be there twice. It is written as YAML
in flow style, with a line for each item.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import ruamel.yaml
from hypothesis import strategies as st

from tests.inventory.inventory_project import REPOSITORY

FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "zones.yaml", *(REPOSITORY / "inventory").rglob("*.yaml"))
)
WILD: list[Any] = [
    0,
    -1,
    -404,
    2**31,
    2**63,
    10**39,
    10**60,
    1.5,
    -0.0,
    float("inf"),
    float("nan"),
    True,
    False,
    None,
    "",
    " ",
    "all",
    "internet",
    "10.10.40.4",
    "10.10.40.4/20",
    "999.1.1.1",
    "::1",
    "db",
    "db.",
    ".db",
    "db.postgresql",
    "zone:data",
    "exposes:data",
    "null",
    "0x1F",
    "1e3",
    "9300-9301",
    "9301-9300",
    "0-70000",
    "../../etc/passwd",
    "/",
    "a" * 5000,
    "é",
    "\u202e",
    "\U0001f600",
    "\u0000",
    "\ud800",
    "a\nb",
    "a\tb",
    "{{ x }}",
    "${x}",
    "%s",
    "*",
    "&a",
    "!!python/object:os.system",
    "~nobody/x",
    "http://",
    "BC:24:11:00:04:04",
    "Etc/UTC",
    "yes",
    [],
    {},
    [[]],
    [{}],
    {"a": {}},
    ["all"],
    [1, "a", None],
    {"name": "x"},
    {"kind": "apt"},
    {"port": 1},
    [0],
    [-1],
    ["1-2"],
    {"": 1},
    {"1": 2},
    {"vmid": 404},
]
KEYS = [
    "",
    "x",
    "name",
    "vmid",
    "kind",
    "all",
    "é",
    "\u202e",
    "a" * 300,
    "1",
    "-",
    "services",
    "needs",
    "__class__",
    "containers",
]
TEXTS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "'",
    '"',
    "\\",
    "\n",
    "\t",
    "#",
    "&a ",
    "*a",
    "!!str ",
    "- ",
    "---\n",
    "\x00",
    "\ud800",
    "%YAML 9\n",
]
OPERATIONS = ["drop", "double", "rename", "value", "wrap", "swap", "graft", "deep", "cut", "insert", "nudge", "nudge"]

Edit = tuple[str, str, int, int, Any, str, str]
"""File, operation, two places, a value, a key, a text."""

edits = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.sampled_from(OPERATIONS),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.sampled_from(WILD) | st.integers() | st.text(max_size=6) | st.floats(),
        st.sampled_from(KEYS) | st.text(max_size=4),
        st.sampled_from(TEXTS),
    ),
    min_size=1,
    max_size=3,
)


class Pairs(list[list[Any]]):
    """A mapping: keys and values in their order, as often as they are there."""


@cache
def _read(file: str) -> Any:
    return _tree(ruamel.yaml.YAML(typ="safe", pure=True).load((REPOSITORY / file).read_text()))


def _tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs([str(key), _tree(item)] for key, item in value.items())
    return [_tree(item) for item in value] if isinstance(value, list) else value


def _slots(value: Any) -> Iterator[tuple[list[Any], int]]:
    """Every place in a tree that holds a value: a list and an index in it."""
    places: list[tuple[list[Any], int]] = []
    if isinstance(value, Pairs):
        places = [(pair, 1) for pair in value]
    elif isinstance(value, list):
        places = [(value, number) for number in range(len(value))]
    for holder, number in places:
        yield holder, number
        yield from _slots(holder[number])


def _mappings(value: Any) -> list[Pairs]:
    inner = [holder[number] for holder, number in _slots(value)]
    return [one for one in (value, *inner) if isinstance(one, Pairs) and one]


def _text(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_text, value)) + "]"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[str(value)]
    return json.dumps(value, ensure_ascii=False)


def _edit(tree: Any, edit: Edit) -> None:
    _, operation, one, other, value, key, _ = edit
    slots, mappings = list(_slots(tree)), _mappings(tree)
    if not slots or not mappings:
        return
    (holder, number), (second, at) = slots[one % len(slots)], slots[other % len(slots)]
    mapping = mappings[one % len(mappings)]
    which = other % len(mapping)
    if operation == "drop":
        del mapping[which]
    elif operation == "double":
        mapping.append(copy.deepcopy(mapping[which]))
    elif operation == "rename":
        mapping[which][0] = key
    elif operation == "value":
        holder[number] = _tree(value)
    elif operation == "wrap":
        holder[number] = [holder[number]] if other % 2 else Pairs([[key, holder[number]]])
    elif operation == "swap":
        holder[number], second[at] = copy.deepcopy(second[at]), copy.deepcopy(holder[number])
    elif operation == "nudge":
        value = holder[number]
        if isinstance(value, int) and not isinstance(value, bool):
            holder[number] = value + other % 7 - 3
        elif isinstance(value, str):
            holder[number] = f"{value}x"
    elif operation == "graft":
        mapping.append([key, copy.deepcopy(second[at])])
    elif operation == "deep":
        for _ in range(other % 40):
            holder[number] = [holder[number]]


def spoilt(changes: list[Edit]) -> dict[str, str]:
    """The texts of files that differ from the shipped ones, by name."""
    trees: dict[str, Any] = {}
    for edit in changes:
        trees.setdefault(edit[0], copy.deepcopy(_read(edit[0])))
        _edit(trees[edit[0]], edit)
    texts = {file: _text(tree) + "\n" for file, tree in trees.items()}
    for file, operation, one, other, _, _, scrap in changes:
        text = texts[file]
        at = one % (len(text) + 1)
        if operation == "cut":
            texts[file] = text[:at] + text[at + other % 30 :]
        elif operation == "insert":
            texts[file] = text[:at] + scrap + text[at:]
    return texts
