"""Every endpoint that is served is one of the official schema's, with the same parameters."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.needs import need_shared
from zentoria_infra.lab.api import endpoints
from zentoria_infra.lab.api.routing import Route, Router
from zentoria_infra.lab.api.schema import Param
from zentoria_infra.lab.releases import release_of

_STORAGE = "path-based storages alone can be made here: settings of other types, and of backups, do not exist"
_PARTIAL = {"POST /storage": _STORAGE, "PUT /storage/{storage}": _STORAGE}
"""Endpoints that take fewer parameters than the official ones, with the reason."""
_WORDS = {"glusterfs", "lxcfs", "proxmox-firewall", "pve-lxc-syscalld", "qmeventd"}
"""Words that release 9 put into enumerations or took out, of things that the lab does not have in any release."""


def _schema(release: str) -> dict[str, Any]:
    """The official schema; that of 9.2 is 9.1's with what a running 9.2 had besides, on the calls that we send."""
    path = need_shared("proxmox", f"pve-api-{'9.1' if release == '9.2' else release}.json")
    more = need_shared("proxmox", "api-8.4-to-9.2.txt")
    paths: dict[str, Any] = json.loads(path.read_text())["paths"]
    if release == "9.2":
        _add(paths, more.read_text())
    return paths


def _add(paths: dict[str, Any], differences: str) -> None:
    where: dict[str, Any] = {}
    for line in differences.splitlines():
        if found := re.match(r"== (\w+) (\S+)", line):
            where = paths[found[2]][found[1]]
        elif found := re.match(r" +\.parameters\.properties\.([^.]+)(?:\.format\.([^.]+))?: NEW (.*)", line):
            properties = where["parameters"].setdefault("properties", {})
            kind = re.search(r'"type": "(\w+)"', found[3])
            param = {"optional": int('"optional": 1' in found[3]), "type": kind[1] if kind else "string"}
            (properties[found[1]]["format"] if found[2] else properties).setdefault(found[2] or found[1], param)


def _routes(release: str) -> list[Route]:
    return Router(endpoints.ALL, release_of(release).number).routes


@pytest.mark.parametrize("release", ["8.4", "9.1", "9.2"])
def test_endpoints_and_parameters_are_the_official_ones(release: str):
    official = _schema(release)
    problems: list[str] = []
    partial: set[str] = set()
    for route in _routes(release):
        name = f"{route.method} {route.documented}"
        theirs = official.get(route.documented, {}).get(route.method)
        if theirs is None:
            problems.append(f"{name}: not in the schema")
            continue
        wanted = theirs["parameters"].get("properties") or {}
        if extra := set(route.schema) - set(wanted):
            problems.append(f"{name}: takes {sorted(extra)}, which the schema does not have")
        if lacking := set(wanted) - set(route.schema):
            if name in _PARTIAL:
                partial.add(name)
            else:
                problems.append(f"{name}: lacks {sorted(lacking)}")
        problems += [
            f"{name}: {key}: {difference}"
            for key, param in route.schema.items()
            if key in wanted and (difference := _differs(param, wanted[key]))
        ]
        if bool(theirs.get("allowtoken", 1)) != route.token:
            problems.append(f"{name}: token allowed: {route.token}")
    assert problems == []
    assert partial == set(_PARTIAL)


def _differs(ours: Param, theirs: dict[str, Any]) -> str:
    pairs = {
        "type": (ours.type, theirs.get("type", "string")),
        "optional": (ours.optional, bool(theirs.get("optional"))),
        "minimum": (ours.minimum, None if theirs.get("minimum") is None else float(theirs["minimum"])),
        "maximum": (ours.maximum, theirs.get("maximum")),
        "minLength": (ours.min_length, theirs.get("minLength")),
        "maxLength": (ours.max_length, theirs.get("maxLength")),
        "requires": (ours.requires, theirs.get("requires")),
    }
    if (set(ours.enum) ^ set(theirs.get("enum") or ())) - _WORDS:
        pairs["enum"] = (str(ours.enum), str(theirs.get("enum")))
    if isinstance(theirs.get("format"), dict) and ours.format is not None and not isinstance(ours.format, str):
        wanted = {key: bool(value.get("optional")) for key, value in theirs["format"].items()}
        pairs["format"] = (
            str(sorted({k: v.optional for k, v in ours.format.items()}.items())),
            str(sorted(wanted.items())),
        )
    return "; ".join(f"{key} {ours_value!r}, official {value!r}" for key, (ours_value, value) in pairs.items()
                     if ours_value != value)  # fmt: skip


@pytest.mark.parametrize("release", ["8.4", "9.1", "9.2"])
def test_permission_asks_everyone_where_the_schema_does(release: str):
    official = _schema(release)
    for route in _routes(release):
        theirs = official[route.documented][route.method].get("permissions") or {}
        everyone = route.permission.__name__ in ("everyone", "world")
        assert everyone == ("user" in theirs and "check" not in theirs), f"{route.method} {route.documented}"


def test_about_this_many_endpoints_are_served():
    assert len(_routes("8.4")) >= 110
    assert len({re.sub(r"\*", "", route.path) for route in _routes("8.4")}) >= 70
