"""The shipped inventory's firewall, and ways to spoil it: the values of a configuration with one thing changed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import Parties, parties_of
from zentoria_infra.firewall.config import Configuration, Group, Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory

REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def shipped() -> tuple[Inventory, Compiled, Parties]:
    """The shipped inventory, compiled."""
    inventory = load(REPOSITORY)
    return inventory, compile_firewall(inventory), parties_of(inventory)


def with_guest(configuration: Configuration, vmid: int, change: Callable[[Guest], Guest]) -> Configuration:
    """Change one guest."""
    guests = tuple(change(one) if one.vmid == vmid else one for one in configuration.guests)
    assert guests != configuration.guests, f"nothing has changed in {vmid}"
    return dataclasses.replace(configuration, guests=guests)


def with_options(configuration: Configuration, vmid: int, change: Mapping[str, str | None]) -> Configuration:
    """Set options of a guest; None takes one away."""

    def changed(guest: Guest) -> Guest:
        options = {**guest.options, **change}
        return dataclasses.replace(guest, options={key: value for key, value in options.items() if value is not None})

    return with_guest(configuration, vmid, changed)


def with_rule(configuration: Configuration, vmid: int, word: str, change: Callable[[Rule], Rule]) -> Configuration:
    """Change the rules of a guest that have an identity."""
    return with_guest(
        configuration,
        vmid,
        lambda guest: dataclasses.replace(
            guest, rules=tuple(change(one) if identity(one.comment) == word else one for one in guest.rules)
        ),
    )


def with_group(configuration: Configuration, name: str, change: Callable[[Group], Group | None]) -> Configuration:
    """Change a security group; None takes it away."""
    made = [change(one) if one.name == name else one for one in configuration.datacenter.groups]
    groups = tuple(one for one in made if one is not None)
    assert groups != configuration.datacenter.groups, f"nothing has changed in {name}"
    return dataclasses.replace(configuration, datacenter=dataclasses.replace(configuration.datacenter, groups=groups))


def place(guest: Guest, word: str) -> int:
    """Position of the rule with that identity."""
    return next(number for number, rule in enumerate(guest.rules) if identity(rule.comment) == word)
