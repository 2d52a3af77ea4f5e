"""Pydantic's errors in the user's words, at the place in the file that they are about."""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.spans import Spans
from zentoria_infra.inventory.values import HOST_NAME, PATTERNS, PUBLIC_ADDRESS, TARGET
from zentoria_infra.inventory.yaml.positions import Node, PathStep, find

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "path_type": "a path",
    "port_range": "a port from 1 to 65535, or a range as 9300-9301",
    "host_name": "a host name (253 characters at most) or an IPv4 address",
    "public_key": "a whole public key as 'ssh-ed25519 AAAA...' (what follows the kind is base64 and names it again)",
    "time_zone": "a time zone of the IANA database, by its present name as Europe/Vienna",
    "url_host": "a URL with a host, and a port from 1 to 65535",
    "ip_v4_address": "an IPv4 address",
    "ip_v4_network": "an IPv4 network as 10.10.32.0/20 (no host bits set)",
}

_IPV4 = {
    "ip_v4_address": "an IPv4 address",
    "ip_v4_network": "an IPv4 network",
    HOST_NAME: "a host name or an IPv4 address",
    TARGET: "a host name, an IPv4 address or a network",
    PUBLIC_ADDRESS: "'dhcp' or an IPv4 address with prefix",
}
"""What is expected where somebody may write IPv6, by the type of the error or by its pattern."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known word, else nothing."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


def shown(value: object) -> str:
    """A value as YAML would write it, short."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (tuple, list)):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"


def port_list(ports: Spans, protocol: str) -> str:
    """``4000, 4001/tcp``; more than six are cut."""
    first = [*itertools.islice((n for low, high in ports for n in range(low, high + 1)), 7)]
    ordered = [str(number) for number in first]
    shown_ports = ordered if len(ordered) <= 6 else [*ordered[:3], "...", str(ports[-1][1])]
    return f"{', '.join(shown_ports)}/{protocol}"


def explain(error: ValidationError, model: type[BaseModel], root: Node) -> list[Problem]:
    """Problems of one validation, each at its place in the node that was validated."""
    return [
        _explain(details, model, root)
        for details in error.errors(include_url=False)
        if not _follows_from_another(details)
    ]


def _follows_from_another(details: ErrorDetails) -> bool:
    """Whether an error comes of trying the list arm of a union on text, or its text arm on a list.

    A list also counts as too short when all that is in it was refused.
    """
    if details["type"] == "too_short" and details["input"]:
        return True
    arm, given = str(details["loc"][-1]) if details["loc"] else "", details["input"]
    return (arm.startswith("tuple[") and not isinstance(given, tuple)) or (
        arm.startswith("literal[") and isinstance(given, tuple)
    )


def _explain(details: ErrorDetails, model: type[BaseModel], root: Node) -> Problem:
    path: tuple[PathStep, ...] = details["loc"]
    kind = details["type"]
    if kind == "missing":
        holder = find(root, path[:-1])
        return problem(holder.key_at or holder.node.at, f"key '{path[-1]}' is missing here")
    node, key, key_at, used = find(root, path)
    if kind == "extra_forbidden":
        known = _fields(model, path[:-1])
        return problem(key_at or node.at, f"unknown key '{path[-1]}'{nearest(str(path[-1]), known)}")
    the_name = bool(path) and path[-1] == "name" and used < len(path)  # a key that is a name is in no mapping
    at: Position = key_at if key_at and (the_name or isinstance(node.value, (dict, list))) else node.at
    if kind.startswith("rule_"):
        return problem(at, details["msg"])
    name = "this name" if the_name else f"'{key or _name(path)}'"
    return problem(at, f"{name} {_message(details)}")


def _is_ipv6(given: object) -> bool:
    try:
        return isinstance(given, str) and ipaddress.ip_interface(given).version == 6
    except ValueError:
        return False


def _name(path: tuple[PathStep, ...]) -> str:
    """The last named step of a path: list items are named by their list."""
    return next((step for step in reversed(path) if isinstance(step, str) and "[" not in step), "value")


def _message(details: ErrorDetails) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    pattern = str(context.get("pattern", ""))
    if (expected := _IPV4.get(kind) or _IPV4.get(pattern)) and _is_ipv6(given):
        return f"must be {expected}, not {shown(given)}: there is no IPv6 on the networks here"
    if expected := _EXPECTED.get(kind):
        return f"must be {expected}, not {shown(given)}"
    if kind in ("literal_error", "enum"):
        words = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
        return f"must be one of {', '.join(words)}, not {shown(given)}{nearest(str(given), words)}"
    if kind == "string_pattern_mismatch":
        return f"must be {PATTERNS.get(pattern, 'text like ' + pattern)}, not {shown(given)}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {context.get('max_length')} characters, not {len(str(given))}"
    for limit, bound in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if limit in context:
            return f"must be {bound} {context[limit]}, not {shown(given)}"
    if kind == "union_tag_not_found":
        return "needs the key 'kind': apt, pypi, npm, url or workspace"
    if kind == "union_tag_invalid":
        tags = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        tag = str(context.get("tag"))
        return f"has the unknown kind {shown(tag)}{nearest(tag, tags)}"
    return f"is wrong: {details['msg']}"


def _fields(model: type[BaseModel], path: tuple[PathStep, ...]) -> frozenset[str]:
    """Names of the keys that may stand at a path of a model."""
    found: set[str] = set()
    for kind in _models(model, path):
        found.update(field.alias or name for name, field in kind.model_fields.items())
    return frozenset(found)


def _models(annotation: Any, path: tuple[PathStep, ...]) -> list[type[BaseModel]]:
    """Models that an annotation leads to along a path; steps that name union arms are passed over."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _models(typing.get_args(annotation)[0], path)
    if origin in (typing.Union, types.UnionType):
        return [found for arm in typing.get_args(annotation) for found in _models(arm, path)]
    if origin is tuple:
        rest = path[1:] if path and isinstance(path[0], int) else path
        return _models(typing.get_args(annotation)[0], rest)
    if origin is dict:
        return _models(typing.get_args(annotation)[1], path[1:])
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    if not path:
        return [annotation]
    field = next((field for name, field in annotation.model_fields.items() if (field.alias or name) == path[0]), None)
    if field is not None:
        return _models(field.annotation, path[1:])
    kind = annotation.model_fields.get("kind")
    if kind is not None and path[0] in typing.get_args(kind.annotation):
        return _models(annotation, path[1:])
    return []
