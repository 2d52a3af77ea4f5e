"""Declaration and check of parameters: types, limits, formats, property strings (PVE::JSONSchema's rules and words)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from zentoria_infra.lab.api import formats
from zentoria_infra.lab.api.faults import bad_params

Value = str | int
"""A checked value: text and numbers with a fraction stay text; integers and booleans (0, 1) are int."""
Values = dict[str, Value]
Type = Literal["string", "integer", "number", "boolean"]

MISSING = "property is missing and it is not optional"
EXTRA = "property is not defined in schema and the schema does not allow additional properties"
INDEX_LIMIT = {"net": 32, "mp": 256, "dev": 256, "unused": 256}
"""How many of each numbered option Proxmox knows (PVE::LXC::Config)."""

_NUMBERED = re.compile(r"([a-z]+)(0|[1-9]\d*)")
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_TRUE = frozenset({"1", "on", "yes", "true"})
_FALSE = frozenset({"0", "off", "no", "false"})


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter, or one key of a property string.

    ``format`` is the name of a format or, for a property string, its keys. ``requires`` names a parameter that has
    to be there too. ``newer`` are words of ``enum`` that are there from 9 on. ``since`` is the first release that has
    it, as ``(9, 2)``.
    """

    type: Type = "string"
    optional: bool = False
    enum: tuple[str, ...] = ()
    newer: frozenset[str] = frozenset()
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    format: str | Mapping[str, Param] | None = None
    requires: str | None = None
    default_key: bool = False
    since: tuple[int, int] = (8, 0)


Schema = Mapping[str, Param]


def opt(param: Param) -> Param:
    """The same parameter, but it may be left out."""
    return dataclasses.replace(param, optional=True)


def of_release(schema: Schema, release: tuple[int, int]) -> dict[str, Param]:
    """The parameters, and keys of property strings, that a release has."""
    fitting = {}
    for name, param in schema.items():
        if param.since > release:
            continue
        if param.format is not None and not isinstance(param.format, str):
            param = dataclasses.replace(param, format=of_release(param.format, release))
        if release < (9, 0) and param.newer:
            param = dataclasses.replace(param, enum=tuple(word for word in param.enum if word not in param.newer))
        fitting[name] = param
    return fitting


def lookup(schema: Schema, name: str) -> Param | None:
    """The declaration for a parameter; ``net3`` is declared as ``net[n]``."""
    if name in schema:
        return schema[name] if not name.endswith("]") else None
    if (match := _NUMBERED.fullmatch(name)) and int(match[2]) < INDEX_LIMIT.get(match[1], 0):
        return schema.get(f"{match[1]}[n]")
    return None


def as_text(value: object) -> str | list[object] | dict[str, object] | None:
    """A JSON or form value as Perl sees it: scalars are text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return repr(value)
    return value if isinstance(value, list | dict) else str(value)


def verify(given: Mapping[str, object], schema: Schema) -> Values:
    """Check parameters. Raises a 400 Fault that lists every problem."""
    errors: dict[str, str] = {}
    values: Values = {}
    _check_object(given, schema, "", errors, values)
    if errors:
        raise bad_params(errors)
    return values


def _check_object(
    given: Mapping[str, object], schema: Schema, prefix: str, errors: dict[str, str], values: Values
) -> None:
    for name, param in schema.items():
        if not param.optional and given.get(name) is None:
            errors[prefix + name] = MISSING
    for name, raw in given.items():
        found = lookup(schema, name)
        if found is None:
            errors[prefix + name] = EXTRA
            continue
        text = as_text(raw)
        if text is None:
            continue
        complaint = check_value(found, text, prefix + name)
        if complaint:
            errors[prefix + name] = complaint
            continue
        values[name] = _convert(found, str(text))
    for name in list(values):
        found = lookup(schema, name)
        needed = found.requires if found else None
        if needed and given.get(needed) is None:
            errors.setdefault(prefix + needed, f"missing property - '{prefix}{name}' requires this property")


def _convert(param: Param, text: str) -> Value:
    return int(text) if param.type in ("integer", "boolean") else text


def check_value(param: Param, text: str | list[object] | dict[str, object], path: str) -> str:
    """What is wrong with a value, in Proxmox's words; empty when nothing is."""
    if isinstance(text, list | dict):
        return f"type check ('{param.type}') failed - got {'ARRAY' if isinstance(text, list) else 'HASH'}"
    if not _has_type(param.type, text):
        return f"type check ('{param.type}') failed - got '{text}'"
    if isinstance(param.format, str):
        try:
            formats.check(param.format, text)
        except formats.FormatError as error:
            return f"invalid format - {error}\n"
    elif param.format is not None:
        _, complaint = parse_properties(text, param.format, path)
        if complaint:
            return f"invalid format - {complaint}"
    return _limits(param, text)


def _has_type(kind: Type, text: str) -> bool:
    if kind == "integer":
        return _INTEGER.fullmatch(text) is not None
    if kind == "number":
        return _NUMBER.fullmatch(text) is not None
    return kind == "string" or text in ("0", "1")


def _limits(param: Param, text: str) -> str:
    if param.pattern is not None and not re.fullmatch(param.pattern, text):
        return "value does not match the regex pattern"
    if param.max_length is not None and len(text) > param.max_length:
        return f"value may only be {param.max_length} characters long"
    if param.min_length is not None and len(text) < param.min_length:
        return f"value must be at least {param.min_length} characters long"
    if param.type in ("integer", "number"):
        if param.maximum is not None and float(text) > param.maximum:
            return (
                f"value must have a maximum value of {param.maximum:g}"
                if param.maximum < 1e6
                else (f"value must have a maximum value of {int(param.maximum)}")
            )
        if param.minimum is not None and float(text) < param.minimum:
            return f"value must have a minimum value of {param.minimum:g}"
    if param.enum and text not in param.enum:
        return f"value '{text}' does not have a value in the enumeration '{', '.join(param.enum)}'"
    return ""


def parse_properties(text: str, schema: Schema, path: str) -> tuple[dict[str, str], str]:
    """Read ``a=1,b=2``. Gives the parts and, when something is wrong, the complaint (else an empty text).

    Booleans may be on/off, yes/no, true/false here and come out as 1 or 0 (PVE::JSONSchema::parse_boolean).
    """
    default_key = next((name for name, param in schema.items() if param.default_key), None)
    parts: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals:
            if default_key is None:
                return {}, "value without key, but schema does not define a default key\n"
            key, value = default_key, part
        elif not key or not value:
            return {}, "missing key in comma-separated list property\n"
        if key in parts:
            return {}, f"duplicate key in comma-separated list property: {key}\n"
        param = schema.get(key)
        if param is not None and param.type == "boolean":
            value = "1" if value.lower() in _TRUE else "0" if value.lower() in _FALSE else value
        parts[key] = value
    errors: dict[str, str] = {}
    _check_object(parts, schema, f"{path}." if path else "", errors, {})
    if errors:
        return parts, "format error\n" + "".join(f"{name}: {why}\n" for name, why in sorted(errors.items()))
    return parts, ""


def format_properties(parts: Mapping[str, str], schema: Schema) -> str:
    """Write a property string as Proxmox does: the default key bare, then required keys, then the rest by name."""
    default_key = next((name for name, param in schema.items() if param.default_key), None)

    def rank(key: str) -> tuple[int, str]:
        if key == default_key:
            return (0, key)
        return (2 if schema[key].optional else 1, key)

    return ",".join(parts[key] if key == default_key else f"{key}={parts[key]}" for key in sorted(parts, key=rank))
