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
from zentoria_infra.inventory.yaml.nodes import Entry, Node, Scalar

_UNUSUAL = re.compile(r"[^\n -~\xa0-\u2027\u202a-\ud7ff]|^%|^---|^\.\.\.|\?\s|\\", re.MULTILINE)
"""Control characters and what YAML 1.1 takes for line ends, directives, documents, complex keys, escapes."""


# Looked up once: this is asked of every value of every file.
_Alias, _Scalar = yaml.AliasEvent, yaml.ScalarEvent
_MappingStart, _MappingEnd = yaml.MappingStartEvent, yaml.MappingEndEvent
_SequenceStart, _SequenceEnd = yaml.SequenceStartEvent, yaml.SequenceEndEvent


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

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is _Alias or event.anchor is not None or event.tag is not None:
            raise _UnknownError
        mark = event.start_mark
        at = Position(self._label, mark.line + 1, mark.column + 1)
        if kind is _Scalar:
            style = event.style
            if not style:
                return Node(self._plain(event.value), at)
            if style in ("|", ">"):
                raise _UnknownError
            return Node(event.value, at)
        if depth >= self._depth:
            raise _UnknownError
        if kind is _MappingStart:
            return Node(self._entries(depth + 1), at)
        if kind is _SequenceStart:
            return Node(self._items(depth + 1), at)
        raise _UnknownError

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while type(event := self._next()) is not _SequenceEnd:
            items.append(self._node(event, depth))
        return items

    def _entries(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        following, node, plain, label = self._next, self._node, self._plain, self._label
        while type(event := following()) is not _MappingEnd:
            if type(event) is not _Scalar or event.anchor is not None or event.tag is not None:
                raise _UnknownError
            style = event.style
            name = event.value if style else plain(event.value)
            if style in ("|", ">") or not isinstance(name, str) or name in entries:
                raise _UnknownError
            mark: Any = event.start_mark
            at = Position(label, mark.line + 1, mark.column + 1)
            value = node(following(), depth)
            if value.value is None:
                value.at = at  # an empty value's own mark is wherever the next thing begins
            entries[name] = Entry(at, value)
        return entries
