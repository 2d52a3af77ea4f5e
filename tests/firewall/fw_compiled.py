"""What tests of the compiler ask of its result."""

from __future__ import annotations

from typing import Any

import pytest

from tests.firewall.fw_inventories import REPOSITORY, words
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory

DENY = ["IN DROP zt/deny/in", "OUT DROP zt/deny/out"]
GUEST_SITE = {"firewall": {"objects": "guest"}}
LAYOUTS = pytest.mark.parametrize("objects", ["datacenter", "guest"])


def rules(compiled: Compiled, name: str) -> list[str]:
    return [words(rule) for rule in guest(compiled.configuration, name).rules]


def guest(configuration: Configuration, name: str) -> Guest:
    (found,) = (one for one in configuration.guests if one.name == name)
    return found


def sets(one: Any) -> dict[str, list[str]]:
    """IP sets as ``!10.10.32.0/20`` by name."""
    return {found.name: ["!" * entry.nomatch + entry.cidr for entry in found.entries] for found in one.ipsets}


def shipped(objects: str = "datacenter") -> Inventory:
    return load(REPOSITORY, overrides={"firewall": {"objects": objects}})


def egress(*to: str, ports: tuple[int, ...] = (443,), **more: Any) -> tuple[dict[str, Any], ...]:
    return ({"to": to, "ports": ports, "purpose": "Outside"} | more,)
