"""Fits what a request gives to the arguments that a tool takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zentoria_ai.plans.schemas import Tool

_OWN = frozenset({"approval_id", "cursor", "limit"})
"""Arguments that are the gateway's: approvals are given by people, never by a plan."""


def fitted(tool: Tool, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call: those that the tool takes, in the form that it takes them in."""
    found = {}
    for name, schema in tool.properties.items():
        if name in values and name not in _OWN:
            made = _as(values[name], schema if isinstance(schema, dict) else {})
            if made is not None:
                found[name] = made
    return found


def missing(tool: Tool, arguments: Mapping[str, Any]) -> list[str]:
    """What the tool cannot do without and the request does not give."""
    return [name for name in tool.required if arguments.get(name) in (None, [])]


def _as(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value in a schema's type; None: it has none in it."""
    types = _types(schema)
    if "array" in types and not isinstance(value, list):
        return [value]
    if isinstance(value, list) and "array" not in types and types:
        return value[0] if value and not isinstance(value[0], list) else None
    if isinstance(value, dict) and types and "object" not in types:
        return None
    if isinstance(value, str) and types and not types & {"string"}:
        return None
    choices = schema.get("enum")
    if isinstance(choices, list) and not isinstance(value, list) and value not in choices:
        return None
    return value


def _types(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    given = schema.get("type")
    found |= {given} if isinstance(given, str) else set(given) if isinstance(given, list) else set()
    for word in ("anyOf", "oneOf"):
        for one in schema.get(word, []) if isinstance(schema.get(word), list) else []:
            if isinstance(one, dict):
                found |= _types(one)
    return found
