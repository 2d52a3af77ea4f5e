"""Values with their places, as they are read from YAML."""

from __future__ import annotations

import dataclasses
from typing import Any

from zentoria_infra.inventory.problems import Position

Scalar = str | int | float | bool | None


@dataclasses.dataclass(slots=True)
class Entry:
    """One key of a mapping: where it stands, and its value."""

    at: Position
    node: Node


@dataclasses.dataclass(slots=True)
class Node:
    """A value and where it stands: a mapping (dict of entries), a list of nodes, or a scalar."""

    value: dict[str, Entry] | list[Node] | Scalar
    at: Position

    def plain(self) -> Any:
        """Plain data: dict, tuple, str, int, float, bool, None."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return tuple(node.plain() for node in self.value)
        return self.value

    def get(self, key: str) -> Node | None:
        """The value of a key; None when this is no mapping or has no such key."""
        entry = self.value.get(key) if isinstance(self.value, dict) else None
        return entry.node if entry else None
