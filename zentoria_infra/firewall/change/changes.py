"""Observed against compiled: the steps that make the one of the other, found by identity and never by position.

First everything that is gained, last everything that is lost: in between, more is never allowed than before and after
together (``transition`` proves it for every plan).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from zentoria_infra.firewall.change.steps import (
    DATACENTER,
    DropAlias,
    DropEntry,
    DropGroup,
    DropIpSet,
    DropRule,
    InsertRule,
    MakeGroup,
    MakeIpSet,
    MoveToEnd,
    PutAlias,
    PutEntry,
    SetOptions,
    Step,
    UpdateRule,
    Where,
    rule_text,
)
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Group, Guest, IpSet, Rule
from zentoria_infra.firewall.identity import OPENING, identity
from zentoria_infra.firewall.whose import Whose, owners


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done to one firewall.

    Args:
        gained: steps before anything else.
        lost: steps after everything else.
        reasons: what differs, in words: a rule that is missing, changed, disabled, moved, an option.
        foreign: what is there and not ours, in words; it is reported and left alone.
        conflicts: what keeps us from going on, in words: a name of ours that somebody else uses.
    """

    gained: tuple[Step, ...] = ()
    lost: tuple[Step, ...] = ()
    reasons: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not self.gained and not self.lost


class _Noting:
    """Collects what :class:`Changes` holds."""

    def __init__(self) -> None:
        self.gained: list[Step] = []
        self.lost: list[Step] = []
        self.reasons: list[str] = []
        self.foreign: list[str] = []
        self.conflicts: list[str] = []

    def changes(self) -> Changes:
        return Changes(
            tuple(self.gained), tuple(self.lost), tuple(self.reasons), tuple(self.foreign), tuple(self.conflicts)
        )


def guest_changes(there: Guest, wanted: Guest) -> Changes:
    """The steps for one guest.

    Its options come last of what is gained: a guest that is open stays so until its rules are there, and one that is
    closed is opened by rules alone.
    """
    note = _Noting()
    where = Where(vmid=wanted.vmid)
    _aliases(note, where, there.aliases, wanted.aliases, Whose())
    _ipsets(note, where, there.ipsets, wanted.ipsets, Whose(), taken=True)
    _rules(note, where, there.rules, wanted.rules)
    # An option that is not there counts as another, even where Proxmox's default is the same: what is written holds.
    options = {key: value for key, value in wanted.options.items() if there.options.get(key) != value}
    if options:
        before = {key: there.options[key] for key in options if key in there.options}
        note.gained.append(SetOptions(where, options, before))
        note.reasons += [
            f"option {key} is {there.options.get(key, 'not set')}, not {value}" for key, value in options.items()
        ]
    return note.changes()


def datacenter_changes(there: Datacenter, wanted: Datacenter, basis: Datacenter | None = None) -> Changes:
    """The steps for the datacenter's objects; its switch is no step (turning it on takes more than a call).

    Other sites of the cluster have theirs in the same lists: those are left alone, and one that has a name of ours is
    a conflict. Objects from before names carried a site go when all of them are this site's own.

    What is lost goes in the order in which nothing is named that is gone: rules of groups, groups, IP sets, aliases.

    Args:
        there: as it is, with the objects of whoever has some.
        wanted: as the site's shall be.
        basis: what the site has while it is up, where that is something else; it tells whose older objects are.
    """
    note = _Noting()
    whose = owners(there, basis or wanted)
    _aliases(note, DATACENTER, there.aliases, wanted.aliases, whose)
    _ipsets(note, DATACENTER, there.ipsets, wanted.ipsets, whose)
    _groups(note, there.groups, wanted.groups, whose)
    # Of the node's own rules those of others are none of our business.
    _rules(note, DATACENTER, tuple(rule for rule in there.rules if whose.is_own(rule.comment)), wanted.rules)
    note.foreign += whose.left(there)
    order = (DropRule, DropGroup, DropEntry, DropIpSet, DropAlias)
    note.lost.sort(key=lambda step: next((n for n, kind in enumerate(order) if isinstance(step, kind)), 0))
    return note.changes()


def two_phases(lost: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What is lost in two parts: what takes the flows away, and what can wait until their connections are cut.

    A rule that goes is put to sleep first, and removed after the cut: so a run that is killed in between leaves what
    tells the next one which connections to cut. What sleeping rules name goes after them.
    """
    first: list[Step] = []
    then: list[Step] = []
    for step in lost:
        if isinstance(step, DropRule) and step.rule.comment.startswith(OPENING):
            first.append(step)
        elif isinstance(step, DropRule) and not is_deny(step.rule) and not step.exact:
            if step.rule.enable:
                first.append(UpdateRule(step.where, dataclasses.replace(step.rule, enable=False), step.rule))
            then.append(DropRule(step.where, dataclasses.replace(step.rule, enable=False)))
        elif isinstance(step, DropGroup | DropIpSet | DropAlias) or (isinstance(step, DropRule) and step.exact):
            then.append(step)
        else:
            first.append(step)
    return tuple(first), tuple(then)


def woken(there: Configuration, wanted: Configuration) -> Configuration:
    """What is there, with rules of ours awake that a killed run has put to sleep before it cut their connections."""
    names = {one.vmid: one.rules for one in wanted.guests}
    guests = tuple(
        dataclasses.replace(one, rules=_woken(one.rules, names.get(one.vmid, one.rules))) for one in there.guests
    )
    groups = {one.name: one.rules for one in wanted.datacenter.groups}
    datacenter = dataclasses.replace(
        there.datacenter,
        groups=tuple(
            dataclasses.replace(one, rules=_woken(one.rules, groups[one.name])) if one.name in groups else one
            for one in there.datacenter.groups
        ),
    )
    return dataclasses.replace(there, guests=guests, datacenter=datacenter)


def _woken(there: tuple[Rule, ...], wanted: tuple[Rule, ...]) -> tuple[Rule, ...]:
    keys = {_key(rule) for rule in wanted}
    return tuple(
        dataclasses.replace(rule, enable=True)
        if not rule.enable and identity(rule.comment) and not is_deny(rule) and _key(rule) not in keys
        else rule
        for rule in there
    )


def removal(there: Configuration, wanted: Datacenter) -> Changes:
    """The steps that take our objects out of the datacenter, for when none of our guests is left.

    Args:
        there: as it is.
        wanted: what the site has there while it is up: nobody else's goes.
    """
    gone = dataclasses.replace(wanted, aliases=(), ipsets=(), groups=(), rules=())
    return datacenter_changes(there.datacenter, gone, wanted)


def _aliases(note: _Noting, where: Where, there: tuple[Alias, ...], wanted: tuple[Alias, ...], whose: Whose) -> None:
    seen = {one.name.lower(): one for one in there}
    names = {one.name.lower() for one in wanted}
    for one in wanted:
        old = seen.get(one.name.lower())
        if old is None:
            note.gained.append(PutAlias(where, one))
            note.reasons.append(f"alias {one.name} is missing")
        elif not whose.is_own(old.comment):
            if old.cidr != one.cidr or whose.another(old.comment):
                note.conflicts.append(f"alias {one.name} of {where} is {old.cidr} and {whose.says(old.comment)}")
        elif old.cidr != one.cidr:
            note.gained.append(PutAlias(where, one, exists=True, before=old.cidr))
            note.reasons.append(f"alias {one.name} is {old.cidr}, not {one.cidr}")
    for old in there:
        if whose.goes(old.comment) and old.name.lower() not in names:
            note.lost.append(DropAlias(where, old.name))
            note.reasons.append(f"alias {old.name} is not needed any more")


def _ipsets(
    note: _Noting,
    where: Where,
    there: tuple[IpSet, ...],
    wanted: tuple[IpSet, ...],
    whose: Whose,
    *,
    taken: bool = False,
) -> None:
    """``taken``: a set of that name is ours whatever its comment says (``ipfilter-netN`` of our own guest)."""
    seen = {one.name: one for one in there}
    names = {one.name for one in wanted}
    for one in wanted:
        old = seen.get(one.name)
        if old is None:
            note.gained.append(MakeIpSet(where, one.name, one.comment))
            note.reasons.append(f"IP set {one.name} is missing")
        elif not taken and not whose.is_own(old.comment):
            note.conflicts.append(f"IP set {one.name} of {where} is {whose.says(old.comment)}")
            continue
        members = {entry.cidr: entry for entry in old.entries} if old else {}
        # What is taken out of a set goes in first: a network never counts before its exceptions do.
        for entry in sorted(one.entries, key=lambda entry: not entry.nomatch):
            member = members.pop(entry.cidr, None)
            if member is None or member.nomatch != entry.nomatch:
                note.gained.append(PutEntry(where, one.name, entry, exists=member is not None))
                if old is not None:
                    note.reasons.append(f"IP set {one.name} lacks {'!' if entry.nomatch else ''}{entry.cidr}")
        # Exceptions go last: what they are taken out of might still be in.
        for member in sorted(members.values(), key=lambda entry: entry.nomatch):
            note.lost.append(DropEntry(where, one.name, member.cidr))
            note.reasons.append(f"IP set {one.name} has {member.cidr}, which is not of it")
    for old in there:
        if whose.goes(old.comment) and old.name not in names:
            note.lost.append(DropIpSet(where, old.name))
            note.reasons.append(f"IP set {old.name} is not needed any more")


def _groups(note: _Noting, there: tuple[Group, ...], wanted: tuple[Group, ...], whose: Whose) -> None:
    seen = {one.name: one for one in there}
    names = {one.name for one in wanted}
    for one in wanted:
        old = seen.get(one.name)
        if old is None:
            note.gained.append(MakeGroup(one.name, one.comment))
            note.reasons.append(f"security group {one.name} is missing")
        elif not whose.is_own(old.comment):
            note.conflicts.append(f"security group {one.name} is {whose.says(old.comment)}")
            continue
        _rules(note, Where(group=one.name), old.rules if old else (), one.rules)
    for old in there:
        if whose.goes(old.comment) and old.name not in names:
            note.lost += [DropRule(Where(group=old.name), rule, exact=True) for rule in old.rules]
            note.lost.append(DropGroup(old.name))
            note.reasons.append(f"security group {old.name} is not needed any more")


def _rules(note: _Noting, where: Where, there: tuple[Rule, ...], wanted: tuple[Rule, ...]) -> None:
    note.foreign += [
        f"rule {rule_text(rule)}{' (disabled)' if not rule.enable else ''} of {where}"
        for rule in there
        if not identity(rule.comment)
    ]
    kept = _without_copies(note, where, [rule for rule in there if identity(rule.comment)], wanted)
    seen = {_key(rule): rule for rule in kept}
    new = [rule for rule in wanted if _key(rule) not in seen]
    updates: list[UpdateRule] = []
    for rule in wanted:
        found = seen.pop(_key(rule), rule)
        if found != rule:
            updates.append(UpdateRule(where, rule, found))
            note.reasons.append(differs(found, rule))
    note.gained += [step for step in updates if not is_deny(step.rule)]
    note.gained += _insertions(where, new, has_accepts=any(not is_deny(rule) for rule in there))
    note.reasons += [f"{rule_text(rule)} is missing" for rule in new]
    note.gained += _moves(note, where, kept, wanted)
    note.gained += [step for step in updates if is_deny(step.rule)]  # it may be asleep in front of accepts
    surplus = sorted(seen.values(), key=is_deny)  # a deny goes last: it may hide others that go
    note.lost += [DropRule(where, rule) for rule in surplus]
    note.reasons += [f"{rule_text(rule)} is not needed any more" for rule in surplus]


def _without_copies(note: _Noting, where: Where, ours: list[Rule], wanted: tuple[Rule, ...]) -> list[Rule]:
    """Of rules with one identity one stays, the right one if it is there: else none could be told from the others."""
    same: dict[tuple[str, str], list[Rule]] = {}
    for rule in ours:
        same.setdefault(_key(rule), []).append(rule)
    for copies in same.values():
        for copy in sorted(copies, key=lambda one: one in wanted)[:-1] if len(copies) > 1 else ():
            ours.remove(copy)
            note.gained.append(DropRule(where, copy, exact=True))
            note.reasons.append(f"{rule_text(copy)} is there more than once")
    return ours


def _key(rule: Rule) -> tuple[str, str]:
    return rule.type, identity(rule.comment)


def _insertions(where: Where, new: list[Rule], *, has_accepts: bool) -> Iterator[Step]:
    """New rules go to position 0, the last of them first.

    A deny must never stand before rules that are in use: where there are some, it comes in disabled, goes to the end,
    and is enabled there.
    """
    for rule in reversed(new):
        if is_deny(rule) and has_accepts:
            off = dataclasses.replace(rule, enable=False)
            yield InsertRule(where, off)
            yield MoveToEnd(where, off)
            yield UpdateRule(where, rule, off)
        else:
            yield InsertRule(where, rule)


def _moves(note: _Noting, where: Where, kept: list[Rule], wanted: tuple[Rule, ...]) -> Iterator[Step]:
    """A deny of ours that stands before an accept of ours hides it. Accepts among themselves have no order."""
    keys = {_key(rule) for rule in wanted}
    ours = [rule for rule in kept if _key(rule) in keys]
    for number, rule in enumerate(ours):
        if is_deny(rule) and any(not is_deny(later) for later in ours[number + 1 :]):
            note.reasons.append(f"{rule_text(rule)} stands before rules that it hides")
            yield MoveToEnd(where, rule)


def is_deny(rule: Rule) -> bool:
    """Whether a rule of ours denies: a DROP, or a group that holds nothing else (its name says so)."""
    return rule.action in ("DROP", "REJECT") or (rule.type == "group" and rule.action.endswith(("-deny", "_deny")))


def differs(there: Rule, wanted: Rule) -> str:
    """What of a rule is not as it shall be, in words."""
    if there.enable != wanted.enable:
        return f"{rule_text(wanted)} is {'disabled' if not there.enable else 'enabled'}"
    if dataclasses.replace(there, comment=wanted.comment) == wanted:
        return f"the comment of {rule_text(wanted)} differs"
    return f"{rule_text(there)} is not {rule_text(wanted)}"
