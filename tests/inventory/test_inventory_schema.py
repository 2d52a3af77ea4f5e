"""The JSON Schema that editors use agrees with the models and with the shipped files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inventory_project import REPOSITORY

from zentoria_infra.inventory.problems import Problem
from zentoria_infra.inventory.schema import SCHEMA_NAMES, SchemaName, schema
from zentoria_infra.inventory.yaml_positions import read_yaml

CONTAINERS = sorted((REPOSITORY / "inventory/containers").glob("*.yaml"))
TYPES = {"object": dict, "array": tuple, "string": str, "integer": int, "number": (int, float), "boolean": bool}


def data(path: Path) -> Any:
    problems: list[Problem] = []
    node = read_yaml(path, path.name, problems)
    assert node is not None and not problems
    return node.plain()


def mismatches(value: Any, rule: Any, root: dict[str, Any], at: str = "") -> list[str]:
    """The part of JSON Schema that ours use; no library for it is among our dependencies."""
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


def fits(path: Path, name: SchemaName) -> list[str]:
    rules = schema(name)
    return mismatches(data(path), rules, rules)


@pytest.mark.parametrize("path", CONTAINERS, ids=[path.stem for path in CONTAINERS])
def test_container_files_fit(path: Path) -> None:
    # `features` and the like may come from container_defaults: a file alone need not be complete, these are.
    assert fits(path, "container") == []


@pytest.mark.parametrize(
    ("file", "name"),
    [("inventory/site.yaml", "site"), ("inventory/sites/lab.yaml", "overlay"), ("zones.yaml", "zones")],
)
def test_site_and_zones_fit(file: str, name: SchemaName) -> None:
    assert fits(REPOSITORY / file, name) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"protected": True}, [": unknown 'protected'"]),
        ({"address": 4}, ["/address: no string"]),
        ({"services": {"x": {"component": "x", "exposes": {"p": {"port": 80}}}}}, ["/services/x/exposes/p: no 'kind'"]),
        ({"services": {"x": {"component": "x", "needs": ("no such",)}}}, ["/services/x/needs/0: does not match"]),
        ({"volumes": {"data": {"path": "/x", "size": 0}}}, ["/volumes/data/size: too small"]),
    ],
)
def test_mistakes_do_not_fit(change: dict[str, Any], expected: list[str]) -> None:
    rules = schema("container")
    found = mismatches({**data(CONTAINERS[0]), **change}, rules, rules)
    assert [line for line in found if any(line.startswith(start) for start in expected)] == found != []


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_references_lead_somewhere_and_nothing_internal_shows(name: SchemaName) -> None:
    rules = schema(name)
    text = json.dumps(rules)
    assert rules["$schema"].startswith("https://json-schema.org/")
    for reference in re.findall(r'"#/\$defs/([^"]+)"', text):
        assert reference in rules["$defs"]
    assert "x-named" not in text


def test_an_overlay_may_say_as_little_as_it_likes() -> None:
    rules = schema("overlay")
    assert mismatches({}, rules, rules) == []
    assert mismatches({"containers": {"db": {"volumes": {"data": {"size": 2}}}}}, rules, rules) == []
    assert mismatches({"containers": {"db": {"volumes": {"data": {"sise": 2}}}}}, rules, rules) == [
        "/containers/db/volumes/data: unknown 'sise'"
    ]
