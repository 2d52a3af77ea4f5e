"""YAML with the place of every key and value. Only plain data: no tags, anchors, aliases or second documents.

The text is read as a stream of events, so that depth and size are bounded before anything is built: a file that
is huge, deeply nested or full of aliases costs no more than the limits below.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ruamel.yaml
from ruamel.yaml import events, nodes
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.yaml import fast as yaml_fast
from zentoria_infra.inventory.yaml.nodes import Entry, Node, Scalar

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 24

PathStep = str | int

__all__ = [
    "MAX_BYTES", "MAX_DEPTH", "Entry", "Found", "Node", "PathStep", "SectionPositions", "find", "merge", "node_of",
    "parse_yaml", "read_yaml",
]  # fmt: skip


class Unreadable(Exception):
    """The text cannot be read on; carries the problem."""

    def __init__(self, found: Problem) -> None:
        super().__init__(str(found))
        self.problem = found


def read_yaml(path: Path, label: str, problems: list[Problem]) -> Node | None:
    """The mapping in a file, or None; what is wrong is added to ``problems``.

    Args:
        path: the file.
        label: its name in messages, as ``inventory/site.yaml``.
        problems: is added to.
    """
    whole = Position(label)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.append(problem(whole, "there is no such file"))
        return None
    except OSError as error:
        problems.append(problem(whole, f"the file cannot be read: {error.strerror or error}"))
        return None
    if len(raw) > MAX_BYTES:
        problems.append(problem(whole, f"the file is larger than {MAX_BYTES // 1024} KiB"))
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problems.append(problem(Position(label, line, column), "the file is not UTF-8 text"))
        return None
    return parse_yaml(text, label, problems)


def parse_yaml(text: str, label: str, problems: list[Problem]) -> Node | None:
    """The mapping that a text holds, or None; what is wrong is added to ``problems``."""
    fast = yaml_fast.read(text, label, plain_scalar, MAX_DEPTH)
    if fast is not None and isinstance(fast.value, dict):
        return fast
    try:
        node = _Builder(text, label, problems).document()
    except Unreadable as error:
        problems.append(error.problem)
        return None
    if not isinstance(node.value, dict):
        problems.append(problem(node.at, "the file must hold a mapping (key: value)"))
        return None
    return node


_YAML = ruamel.yaml.YAML(typ="safe", pure=True)


@functools.lru_cache(maxsize=8192)
def plain_scalar(text: str) -> Scalar:
    """The value of a scalar that has no quotes, as YAML 1.2 says.

    Raises:
        ValueError: a number has too many digits.
    """
    return _value(str(_YAML.resolver.resolve(nodes.ScalarNode, text, (True, False))), text)


def _value(tag: str, text: str) -> Scalar:
    kind = tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _integer(text)
    if kind == "float":
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Builder:
    """Builds nodes from the events of one text."""

    def __init__(self, text: str, label: str, problems: list[Problem]) -> None:
        self._label = label
        self._problems = problems
        yaml = ruamel.yaml.YAML(typ="safe", pure=True)
        self._resolve = yaml.resolver.resolve
        self._events = self._guarded(yaml.parse(text))

    def _guarded(self, stream: Iterator[Any]) -> Iterator[Any]:
        """Events of the parser; its errors in our words."""
        try:
            yield from stream
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(self._label, mark.line + 1, mark.column + 1) if mark else Position(self._label)
            text = " ".join(part for part in (error.context, error.problem) if part)
            raise Unreadable(problem(at, f"this is not YAML: {text}")) from None
        except ReaderError as error:
            text = f"character #x{error.character:04x} is not allowed in YAML"
            raise Unreadable(problem(Position(self._label), f"this is not YAML: {text}")) from None
        except OverflowError:  # \U with more than there are characters
            text = "an escape (\\U) stands for no character"
            raise Unreadable(problem(Position(self._label), f"this is not YAML: {text}")) from None
        except (YAMLError, ValueError, TypeError, AssertionError, IndexError) as error:
            # ruamel's scanner trips over some malformed directives and escapes with Python's own errors.
            raise Unreadable(problem(Position(self._label), f"this is not YAML: {error}")) from None

    def _at(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self._label, mark.line + 1, mark.column + 1)

    def document(self) -> Node:
        node: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, events.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Unreadable(problem(self._at(event), "the file holds more than one YAML document"))
                if event.version or event.tags:
                    raise Unreadable(problem(self._at(event), "YAML directives (%YAML, %TAG) are not used here"))
            elif not isinstance(event, (events.StreamStartEvent, events.StreamEndEvent, events.DocumentEndEvent)):
                node = self._node(event, 1)
        if node is None:
            raise Unreadable(problem(Position(self._label), "the file is empty"))
        return node

    def _node(self, event: Any, depth: int) -> Node:
        at = self._at(event)
        if depth > MAX_DEPTH:
            raise Unreadable(problem(at, f"nested more than {MAX_DEPTH} deep"))
        if isinstance(event, events.AliasEvent) or event.anchor is not None:
            raise Unreadable(problem(at, "anchors and aliases (& and *) are not used here: write the value out"))
        if isinstance(event, events.ScalarEvent):
            return Node(self._scalar(event, at), at)
        if event.ctag is not None and not event.implicit:
            raise Unreadable(problem(at, f"the tag {event.ctag} is not used here"))
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(at, depth)
        return self._mapping(at, depth)

    def _sequence(self, at: Position, depth: int) -> Node:
        items: list[Node] = []
        for event in self._events:
            if isinstance(event, events.SequenceEndEvent):
                break
            items.append(self._node(event, depth + 1))
        return Node(items, at)

    def _mapping(self, at: Position, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        for event in self._events:
            if isinstance(event, events.MappingEndEvent):
                break
            key_node = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            key = key_node.value
            if isinstance(key, int) and not isinstance(key, bool):
                key = str(key)
            if not isinstance(key, str):
                self._problems.append(problem(key_node.at, "a key must be text"))
            elif key in entries:
                first = entries[key].at
                self._problems.append(
                    problem(key_node.at, f"key '{key}' is here twice; the first is in line {first.line}")
                )
            else:
                if value.value is None:
                    value.at = key_node.at  # an empty value's own mark is wherever the next thing begins
                entries[key] = Entry(key_node.at, value)
        return Node(entries, at)

    def _scalar(self, event: Any, at: Position) -> Scalar:
        text: str = event.value
        if event.ctag is not None and not (event.implicit[0] or event.implicit[1]):
            raise Unreadable(problem(at, f"the tag {event.ctag} is not used here"))
        tag = str(self._resolve(nodes.ScalarNode, text, event.implicit))
        try:
            return _value(tag, text)
        except ValueError as error:
            raise Unreadable(problem(at, str(error))) from None


def _integer(text: str) -> int:
    """YAML 1.2's integers: decimal (leading zeros mean nothing), 0o octal, 0x hexadecimal, 0b binary."""
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    if len(digits) > 40:
        raise ValueError("the number has too many digits")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    return sign * int(digits if base == 10 else digits[2:], base)


def node_of(value: object, at: Position) -> Node:
    """A node of plain data that was in no file (values of the command line)."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Mapping):
        return Node({str(key): Entry(at, node_of(item, at)) for key, item in value.items()}, at)
    if isinstance(value, (list, tuple)):
        return Node([node_of(item, at) for item in value], at)
    if value is None or isinstance(value, (str, int, float, bool)):
        return Node(value, at)
    return Node(str(value), at)


def merge(base: Node, over: Node) -> Node:
    """``over`` laid on ``base``: mappings are merged key by key, anything else is replaced. Neither is changed.

    Two mappings that say different things under ``kind`` are two kinds of thing: the second replaces the first.
    """
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    kinds = {kind.value for node in (base, over) if (kind := node.get("kind")) and isinstance(kind.value, str)}
    if len(kinds) == 2:
        return over
    merged = dict(base.value)
    for key, entry in over.value.items():
        below = merged.get(key)
        merged[key] = Entry(entry.at, merge(below.node, entry.node)) if below else entry
    return Node(merged, base.at)


class Found(NamedTuple):
    """What a path leads to. ``key`` and ``key_at`` are None for list items and the root."""

    node: Node
    key: str | None
    key_at: Position | None
    used: int
    """How many steps of the path led here."""


def find(node: Node, path: tuple[PathStep, ...]) -> Found:
    """The node at a path, or the nearest one above it.

    A number also finds the n-th entry of a mapping (tuples that YAML writes as mappings by name); a name that is
    not there is passed over when something after it is (pydantic puts the names of union arms into its paths).
    """
    key: str | None = None
    key_at: Position | None = None
    used = 0
    for number, step in enumerate(path):
        if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
            key, key_at, node = step, node.value[step].at, node.value[step].node
        elif isinstance(node.value, dict) and isinstance(step, int) and step < len(node.value):
            key, entry = list(node.value.items())[step]
            key_at, node = entry.at, entry.node
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            key, key_at, node = None, None, node.value[step]
        else:
            continue
        used = number + 1
    return Found(node, key, key_at, used)


@functools.lru_cache(maxsize=8192)
def _steps(path: str) -> tuple[PathStep, ...]:
    return tuple(int(step) if step.isdigit() else step for step in path.split(".") if step)


class SectionPositions:
    """Positions by section: ``site``, ``zones``, ``container 404``."""

    def __init__(self, sections: Mapping[str, Node]) -> None:
        self._sections = dict(sections)

    def find(self, section: str, path: str) -> Position:
        """Place of a dotted path in a section, or of the nearest thing above it."""
        root = self._sections.get(section)
        if root is None:
            return Position(section)
        found = find(root, _steps(path))
        whole = found.key_at is not None and isinstance(found.node.value, (dict, list))
        return found.key_at if whole and found.key_at else found.node.at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SectionPositions) and self._sections == other._sections

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._sections)))
