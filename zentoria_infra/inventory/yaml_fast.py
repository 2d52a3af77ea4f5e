"""The same nodes as ``yaml_positions`` makes, by libyaml (through PyYAML), fifteen times faster.

It reads plain, faultless text and nothing else. At anything that it does not know, and at every fault, it gives up
without a word: the slow parser then reads the text from its beginning, and is the one that judges and explains. What
libyaml, which is of YAML 1.1, reads otherwise than YAML 1.2 says is left to the slow parser as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.yaml_nodes import Entry, Node, Scalar

_UNUSUAL = re.compile(r"[^\n -~\xa0-\u2027\u202a-\ud7ff]|^%|^---|^\.\.\.|\?\s|\\", re.MULTILINE)
"""Control characters and what YAML 1.1 takes for line ends, directives, documents, complex keys, escapes."""


class _UnknownError(Exception):
    """Something that is left to the slow parser."""


def read(text: str, label: str, plain: Callable[[str], Scalar], depth: int) -> Node | None:
    """The node that a text holds; None when it is not plain and faultless.

    Args:
        text: the whole file.
        label: its name in positions.
        plain: the value of a scalar without quotes; raises ValueError when there is none.
        depth: how deep nodes may be nested.
    """
    if _UNUSUAL.search(text) or not yaml.__with_libyaml__:
        return None
    try:
        return _Reader(text, label, plain, depth).document()
    except (_UnknownError, yaml.YAMLError, ValueError):
        return None


class _Reader:
    def __init__(self, text: str, label: str, plain: Callable[[str], Scalar], depth: int) -> None:
        self._next: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self._label = label
        self._plain = plain
        self._depth = depth

    def document(self) -> Node:
        self._next()  # the stream begins
        if not isinstance(self._next(), yaml.DocumentStartEvent):
            raise _UnknownError
        node = self._node(self._next(), 1)
        self._next()  # the document ends
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise _UnknownError
        return node

    def _at(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self._label, mark.line + 1, mark.column + 1)

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is yaml.AliasEvent or event.anchor is not None or event.tag is not None:
            raise _UnknownError
        if kind is yaml.ScalarEvent:
            if event.style in ("|", ">"):
                raise _UnknownError
            text: str = event.value
            return Node(text if event.style else self._plain(text), self._at(event))
        if depth >= self._depth:
            raise _UnknownError
        if kind is yaml.MappingStartEvent:
            return Node(self._entries(depth + 1), self._at(event))
        if kind is yaml.SequenceStartEvent:
            return Node(self._items(depth + 1), self._at(event))
        raise _UnknownError

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._node(event, depth))
        return items

    def _entries(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._node(event, depth)
            if not isinstance(key.value, str) or key.value in entries:
                raise _UnknownError
            value = self._node(self._next(), depth)
            if value.value is None:
                value.at = key.at  # an empty value's own mark is wherever the next thing begins
            entries[key.value] = Entry(key.at, value)
        return entries
