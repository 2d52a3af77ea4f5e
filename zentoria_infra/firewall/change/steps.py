"""What can be done to a firewall, one call of Proxmox's API at a time, and what it makes of a configuration.

The same values are printed by a plan, proven one by one, and carried out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Entry, Group, Guest, IpSet, Rule
from zentoria_infra.firewall.identity import identity

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Where:
    """Whose firewall: a guest's (``vmid``), a security group's rules (``group``), else the datacenter's."""

    vmid: int = 0
    group: str = ""

    def __str__(self) -> str:
        if self.vmid:
            return str(self.vmid)
        return f"group {self.group}" if self.group else "datacenter"


DATACENTER = Where()


@dataclasses.dataclass(frozen=True, slots=True)
class SetOptions:
    """Set options of a guest. ``before`` are their values until now, for whoever reads of it."""

    where: Where
    values: Mapping[str, str]
    before: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class PutAlias:
    """Make an alias, or give it another address. ``before`` is its address until now, for whoever reads of it."""

    where: Where
    alias: Alias
    exists: bool = False
    before: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class DropAlias:
    """Remove an alias."""

    where: Where
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class MakeIpSet:
    """Make an empty IP set."""

    where: Where
    name: str
    comment: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class DropIpSet:
    """Remove an IP set with its members."""

    where: Where
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class PutEntry:
    """Add a member to an IP set, or change its ``nomatch``."""

    where: Where
    ipset: str
    entry: Entry
    exists: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class DropEntry:
    """Take a member out of an IP set."""

    where: Where
    ipset: str
    cidr: str


@dataclasses.dataclass(frozen=True, slots=True)
class MakeGroup:
    """Make an empty security group."""

    name: str
    comment: str = ""

    where: Where = DATACENTER


@dataclasses.dataclass(frozen=True, slots=True)
class DropGroup:
    """Remove a security group that is empty."""

    name: str

    where: Where = DATACENTER


@dataclasses.dataclass(frozen=True, slots=True)
class InsertRule:
    """Put a rule to position 0: Proxmox's API knows no other place for a new rule."""

    where: Where
    rule: Rule


@dataclasses.dataclass(frozen=True, slots=True)
class UpdateRule:
    """Give the rule of the same identity and type other fields."""

    where: Where
    rule: Rule
    before: Rule


@dataclasses.dataclass(frozen=True, slots=True)
class MoveToEnd:
    """Move a rule behind all others."""

    where: Where
    rule: Rule


@dataclasses.dataclass(frozen=True, slots=True)
class DropRule:
    """Remove a rule: the one of the same identity and type, or with ``exact`` the first that is the same to the letter.

    The latter is for copies, and for rules without an identity.
    """

    where: Where
    rule: Rule
    exact: bool = False


Step = (
    SetOptions
    | PutAlias
    | DropAlias
    | MakeIpSet
    | DropIpSet
    | PutEntry
    | DropEntry
    | MakeGroup
    | DropGroup
    | InsertRule
    | UpdateRule
    | MoveToEnd
    | DropRule
)


def same_rule(wanted: Rule) -> Callable[[Rule], bool]:
    """Whether a rule is the one meant: the same identity and the same direction."""
    key = identity(wanted.comment)
    return lambda one: bool(key) and identity(one.comment) == key and one.type == wanted.type


def exactly(wanted: Rule) -> Callable[[Rule], bool]:
    """Whether a rule is the same to the letter."""
    return lambda one: one == wanted


def apply_step(configuration: Configuration, step: Step) -> Configuration:
    """The configuration after one step; pure.

    Raises:
        KeyError: there is no such guest.
    """
    where = step.where
    if where.vmid:
        guests = tuple(_guest(one, step) if one.vmid == where.vmid else one for one in configuration.guests)
        configuration.guest(where.vmid)
        return dataclasses.replace(configuration, guests=guests)
    return dataclasses.replace(configuration, datacenter=_datacenter(configuration.datacenter, step))


def _guest(guest: Guest, step: Step) -> Guest:
    match step:
        case SetOptions(values=values):
            return dataclasses.replace(guest, options={**guest.options, **values})
        case PutAlias() | DropAlias():
            return dataclasses.replace(guest, aliases=_aliases(guest.aliases, step))
        case MakeIpSet() | DropIpSet() | PutEntry() | DropEntry():
            return dataclasses.replace(guest, ipsets=_ipsets(guest.ipsets, step))
        case InsertRule() | UpdateRule() | MoveToEnd() | DropRule():
            return dataclasses.replace(guest, rules=_rules(guest.rules, step))
    raise TypeError(f"{type(step).__name__} is nothing for a guest")


def _datacenter(datacenter: Datacenter, step: Step) -> Datacenter:
    match step:
        case SetOptions(values=values):
            return dataclasses.replace(datacenter, options={**datacenter.options, **values})
        case PutAlias() | DropAlias():
            return dataclasses.replace(datacenter, aliases=_aliases(datacenter.aliases, step))
        case MakeIpSet() | DropIpSet() | PutEntry() | DropEntry():
            return dataclasses.replace(datacenter, ipsets=_ipsets(datacenter.ipsets, step))
        case MakeGroup(name=name, comment=comment):
            groups = _put(datacenter.groups, Group(name, (), comment), lambda one: one.name == name)
            return dataclasses.replace(datacenter, groups=groups)
        case DropGroup(name=name):
            left = tuple(one for one in datacenter.groups if one.name != name)
            return dataclasses.replace(datacenter, groups=left)
        case InsertRule() | UpdateRule() | MoveToEnd() | DropRule() if not step.where.group:
            return dataclasses.replace(datacenter, rules=_rules(datacenter.rules, step))
        case InsertRule() | UpdateRule() | MoveToEnd() | DropRule():
            groups = tuple(
                dataclasses.replace(one, rules=_rules(one.rules, step)) if one.name == step.where.group else one
                for one in datacenter.groups
            )
            return dataclasses.replace(datacenter, groups=groups)
    raise TypeError(f"{type(step).__name__} is nothing for the datacenter")


def _aliases(aliases: tuple[Alias, ...], step: PutAlias | DropAlias) -> tuple[Alias, ...]:
    if isinstance(step, PutAlias):
        name = step.alias.name.lower()
        return _put(aliases, step.alias, lambda one: one.name.lower() == name)
    return tuple(one for one in aliases if one.name.lower() != step.name.lower())


def _ipsets(ipsets: tuple[IpSet, ...], step: MakeIpSet | DropIpSet | PutEntry | DropEntry) -> tuple[IpSet, ...]:
    match step:
        case MakeIpSet(name=name, comment=comment):
            return _put(ipsets, IpSet(name, (), comment), lambda one: one.name == name)
        case DropIpSet(name=name):
            return tuple(one for one in ipsets if one.name != name)
        case PutEntry(ipset=name, entry=entry):
            return _change(ipsets, name, lambda old: _put(old, entry, lambda one: one.cidr == entry.cidr))
        case DropEntry(ipset=name, cidr=cidr):
            return _change(ipsets, name, lambda old: tuple(one for one in old if one.cidr != cidr))


def _change(
    ipsets: tuple[IpSet, ...], name: str, change: Callable[[tuple[Entry, ...]], tuple[Entry, ...]]
) -> tuple[IpSet, ...]:
    return tuple(dataclasses.replace(one, entries=change(one.entries)) if one.name == name else one for one in ipsets)


def _rules(rules: tuple[Rule, ...], step: InsertRule | UpdateRule | MoveToEnd | DropRule) -> tuple[Rule, ...]:
    if isinstance(step, InsertRule):
        return (step.rule, *rules)
    is_same = exactly(step.rule) if isinstance(step, DropRule) and step.exact else same_rule(step.rule)
    if isinstance(step, UpdateRule):
        return tuple(step.rule if is_same(one) else one for one in rules)
    at = next((number for number, one in enumerate(rules) if is_same(one)), None)
    if at is None:
        return rules
    rest = rules[:at] + rules[at + 1 :]
    return (*rest, rules[at]) if isinstance(step, MoveToEnd) else rest


def _put(items: tuple[_Item, ...], item: _Item, same: Callable[[_Item], bool]) -> tuple[_Item, ...]:
    if any(same(one) for one in items):
        return tuple(item if same(one) else one for one in items)
    return (*items, item)


def states(configuration: Configuration, steps: Iterable[Step]) -> Iterable[Configuration]:
    """Yield the configuration after each step."""
    for step in steps:
        configuration = apply_step(configuration, step)
        yield configuration


def says(step: Step) -> str:
    """A step in a few words, for plans."""
    match step:
        case SetOptions(values=values):
            return "set " + ", ".join(f"{key}={value}" for key, value in values.items())
        case PutAlias(alias=alias, exists=exists):
            return f"{'change' if exists else 'add'} alias {alias.name} ({alias.cidr})"
        case DropAlias(name=name):
            return f"remove alias {name}"
        case MakeIpSet(name=name):
            return f"add IP set {name}"
        case DropIpSet(name=name):
            return f"remove IP set {name}"
        case PutEntry(ipset=ipset, entry=entry):
            return f"put {'!' if entry.nomatch else ''}{entry.cidr} into IP set {ipset}"
        case DropEntry(ipset=ipset, cidr=cidr):
            return f"take {cidr} out of IP set {ipset}"
        case MakeGroup(name=name):
            return f"add security group {name}"
        case DropGroup(name=name):
            return f"remove security group {name}"
        case InsertRule(rule=rule):
            return f"add {rule_text(rule)}"
        case UpdateRule(rule=rule, before=before):
            return f"change {rule_text(before)} to {rule_text(rule)}"
        case MoveToEnd(rule=rule):
            return f"move {rule_text(rule)} behind all others"
        case DropRule(rule=rule):
            return f"remove {rule_text(rule)}"


def rule_text(rule: Rule) -> str:
    """A rule as Proxmox's files have it, with its identity in place of the whole comment."""
    action = f"{rule.macro}({rule.action})" if rule.macro else rule.action
    words = [f"{'' if rule.enable else '|'}{rule.type.upper()} {action}"]
    flags = {"-i": rule.iface, "-source": rule.source, "-dest": rule.dest, "-p": rule.proto, "-dport": rule.dport,
             "-sport": rule.sport, "-icmp-type": rule.icmp_type}  # fmt: skip
    words += [f"{flag} {value}" for flag, value in flags.items() if value]
    key = identity(rule.comment)
    return " ".join([*words, *([f"[{key}]"] if key else [])])
