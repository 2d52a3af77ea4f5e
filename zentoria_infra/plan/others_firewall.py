"""What others have made of a container's firewall, kept while the container is replaced. Pure.

Destroying a container removes its firewall. Ours is compiled again; rules, aliases, IP sets and options of others are
copied to the parking container before, and written again after, each rule at its place among ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from zentoria_infra.firewall.change.changes import guest_changes
from zentoria_infra.firewall.change.steps import (
    DropRule,
    InsertRule,
    MakeIpSet,
    PutAlias,
    PutEntry,
    SetOptions,
    Step,
    Where,
    apply_step,
)
from zentoria_infra.firewall.config import NO_OPTIONS, Configuration, Guest
from zentoria_infra.firewall.identity import is_ours


def has_others(guest: Guest, wanted: Guest) -> bool:
    """Whether there is anything in a container's firewall that is not ours."""
    ours = {one.name for one in wanted.ipsets}
    return (
        any(not is_ours(rule.comment) for rule in guest.rules)
        or any(not is_ours(alias.comment) for alias in guest.aliases)
        or any(not is_ours(one.comment) and one.name not in ours for one in guest.ipsets)
        or bool(guest.options.keys() - wanted.options.keys())
    )


def with_copy(guest: Guest, copy: Guest | None) -> Guest:
    """A firewall with what of others is in the copy alone: a killed run has not written it again yet."""
    if copy is None:
        return guest
    rules = guest.rules
    if any(not is_ours(rule.comment) and rule not in rules for rule in copy.rules):
        new = (rule for rule in rules if not is_ours(rule.comment) and rule not in copy.rules)
        rules = (*new, *copy.rules)
    aliases, sets = {one.name.lower() for one in guest.aliases}, {one.name for one in guest.ipsets}
    return dataclasses.replace(
        guest,
        options={**copy.options, **guest.options},
        aliases=(*guest.aliases, *(one for one in copy.aliases if one.name.lower() not in aliases)),
        ipsets=(*guest.ipsets, *(one for one in copy.ipsets if one.name not in sets)),
        rules=rules,
    )


def brought_up(guest: Guest, wanted: Guest) -> Guest:
    """What a run makes of a firewall: ours as it shall be, what others have made at its place."""
    changes = guest_changes(guest, wanted)
    state = Configuration(guests=(dataclasses.replace(guest, vmid=wanted.vmid),))
    for step in (*changes.gained, *changes.lost):
        state = apply_step(state, step)
    return state.guests[0]


def written(vmid: int, there: Guest | None, wanted: Guest) -> tuple[Step, ...]:
    """The steps that write a whole firewall. Rules have no names of their own here: if one differs, all are written."""
    return tuple(_written(Where(vmid=vmid), there or Guest(vmid, "", "", (), NO_OPTIONS), wanted))


def _written(where: Where, there: Guest, wanted: Guest) -> Iterator[Step]:
    aliases = {one.name.lower(): one for one in there.aliases}
    for alias in wanted.aliases:
        old = aliases.get(alias.name.lower())
        if old != alias:
            yield PutAlias(where, alias, exists=old is not None, before=old.cidr if old else "")
    sets = {one.name: one for one in there.ipsets}
    for ipset in wanted.ipsets:
        if ipset.name not in sets:
            yield MakeIpSet(where, ipset.name, ipset.comment)
        known = {entry.cidr: entry for entry in sets[ipset.name].entries} if ipset.name in sets else {}
        for entry in sorted(ipset.entries, key=lambda entry: not entry.nomatch):
            if known.get(entry.cidr) != entry:
                yield PutEntry(where, ipset.name, entry, exists=entry.cidr in known)
    if there.rules != wanted.rules:
        yield from (DropRule(where, rule, exact=True) for rule in there.rules)
        yield from (InsertRule(where, rule) for rule in reversed(wanted.rules))
    options = {key: value for key, value in wanted.options.items() if there.options.get(key) != value}
    if options:
        yield SetOptions(where, options, {key: there.options[key] for key in options if key in there.options})
