"""The permission table: every route, WebSocket and tool of the gateway, by domain. What has no line is refused."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_backend.access.rule import Rule
from zentoria_backend.access.rules import core, events, files

RULES: tuple[Rule, ...] = (*core.RULES, *events.RULES, *files.RULES)


def table(rules: tuple[Rule, ...] = RULES) -> Mapping[tuple[str, str], Rule]:
    """The rules by method and path.

    Raises:
        ValueError: one has two lines.
    """
    found: dict[tuple[str, str], Rule] = {}
    for rule in rules:
        if found.setdefault((rule.method, rule.path), rule) is not rule:
            raise ValueError(f"{rule.method} {rule.path} has two rules")
    return found


TABLE = table()
