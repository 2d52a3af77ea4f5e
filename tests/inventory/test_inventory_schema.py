"""The JSON Schema that editors use agrees with the models and with the shipped files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.inventory.inventory_project import REPOSITORY
from tests.support.json_schema import mismatches
from zentoria_infra.inventory.problems import Problem
from zentoria_infra.inventory.schema import SCHEMA_NAMES, SchemaName, schema
from zentoria_infra.inventory.yaml.positions import read_yaml

CONTAINERS = sorted((REPOSITORY / "inventory/containers").glob("*.yaml"))


def data(path: Path) -> Any:
    problems: list[Problem] = []
    node = read_yaml(path, path.name, problems)
    assert node is not None and not problems
    return node.plain()


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
