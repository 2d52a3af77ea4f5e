"""The part of JSON Schema that our schemas use; no library for it is among our dependencies."""

from __future__ import annotations

import re
from typing import Any

TYPES = {"object": dict, "array": (tuple, list), "string": str, "integer": int, "number": (int, float), "boolean": bool}


def mismatches(value: Any, rule: Any, root: dict[str, Any], at: str = "") -> list[str]:
    """What in a value is not as the rule says; empty when all is."""
    if "$ref" in rule:
        return mismatches(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root, at)
    for key in ("anyOf", "oneOf"):
        if key in rule:
            arms = [mismatches(value, arm, root, at) for arm in rule[key]]
            return [] if [] in arms else min(arms, key=len)
    found: list[str] = []
    if "const" in rule and value != rule["const"]:
        found.append(f"{at}: not {rule['const']!r}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{at}: not one of {rule['enum']}")
    kind = rule.get("type")
    if kind == "null":
        return found if value is None else [*found, f"{at}: not null"]
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [*found, f"{at}: no {kind}"]
    if kind == "string" and "pattern" in rule and not re.search(rule["pattern"], value):
        found.append(f"{at}: does not match {rule['pattern']}")
    if kind in ("integer", "number"):
        found += [f"{at}: too small" for key in ("minimum",) if key in rule and value < rule[key]]
        found += [f"{at}: too large" for key in ("maximum",) if key in rule and value > rule[key]]
    if kind == "array":
        for number, item in enumerate(value):
            found += mismatches(item, rule.get("items", {}), root, f"{at}/{number}")
    if kind == "object":
        known = rule.get("properties", {})
        found += [f"{at}: no '{key}'" for key in rule.get("required", ()) if key not in value]
        for key, item in value.items():
            further = rule.get("additionalProperties", True)
            if key in known:
                found += mismatches(item, known[key], root, f"{at}/{key}")
            elif further is False:
                found.append(f"{at}: unknown '{key}'")
            elif further is not True:
                found += mismatches(item, further, root, f"{at}/{key}")
    return found
