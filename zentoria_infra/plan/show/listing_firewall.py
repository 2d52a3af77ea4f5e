"""The firewall's part of a listing: the steps of a plan, put together by the object that they are about. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from zentoria_infra.firewall.change.changes import differs
from zentoria_infra.firewall.change.steps import (
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
    rule_text,
)
from zentoria_infra.firewall.identity import OPENING, identity
from zentoria_infra.plan.model.document import Kind
from zentoria_infra.plan.saved.applied import rule_key
from zentoria_infra.plan.saved.between import CLOSED

_RULES = (InsertRule, UpdateRule, MoveToEnd, DropRule)


@dataclasses.dataclass(frozen=True)
class ObjectChange:
    """What happens to one object of a firewall.

    Args:
        name: the end of the change's id, as ``firewall/alias:zt-db``.
        said_by: identity of what asks for it; empty for options and objects without one.
        steps: the calls for it.
    """

    name: str
    action: Kind
    what: str
    reason: str
    before: str
    after: str
    said_by: str
    steps: tuple[Step, ...]


def object_changes(steps: Iterable[Step]) -> Iterator[ObjectChange]:
    """Yield one change for each object that the steps are about, in the order in which they are first named."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        for name, one in _named(step):
            found.setdefault(name, []).append(one)
    for name, group in found.items():
        change = _change(name, tuple(group))
        if change is not None:
            yield change


def count_objects(steps: Iterable[Step]) -> int:
    """How many objects the steps are about."""
    return len({name for step in steps for name, _ in _named(step)})


def _named(step: Step) -> Iterator[tuple[str, Step]]:
    match step:
        case SetOptions(where=where, values=values, before=before):
            for key, value in values.items():
                yield f"firewall/option:{key}", SetOptions(where, {key: value}, before)
        case PutAlias(alias=alias):
            yield f"firewall/alias:{alias.name}", step
        case DropAlias(name=name):
            yield f"firewall/alias:{name}", step
        case MakeIpSet(name=name) | DropIpSet(name=name):
            yield f"firewall/ipset:{name}", step
        case PutEntry(ipset=name) | DropEntry(ipset=name):
            yield f"firewall/ipset:{name}", step
        case MakeGroup(name=name) | DropGroup(name=name):
            yield f"firewall/group:{name}", step
        case InsertRule(where=where, rule=rule) | UpdateRule(where=where, rule=rule):
            yield rule_key(rule, where.group), step
        case MoveToEnd(where=where, rule=rule) | DropRule(where=where, rule=rule):
            yield rule_key(rule, where.group), step


def _change(name: str, steps: tuple[Step, ...]) -> ObjectChange | None:
    first = steps[0]
    match first:
        case SetOptions(values=values, before=before):
            ((key, value),) = values.items()
            was = before.get(key, "")
            reason = f"option {key} is {was or 'not set'}, not {value}"
            return ObjectChange(name, Kind.UPDATE, f"firewall option {key}", reason, was, value, "", steps)
        case PutAlias(alias=alias, exists=exists, before=was):
            reason = f"alias {alias.name} is {was or 'another address'}, not {alias.cidr}" if exists else "is missing"
            reason = reason if exists else f"alias {alias.name} is missing"
            action = Kind.UPDATE if exists else Kind.CREATE
            said_by = identity(alias.comment)
            return ObjectChange(name, action, f"alias {alias.name}", reason, was, alias.cidr, said_by, steps)
        case DropAlias(name=alias_name):
            reason = f"alias {alias_name} is not needed any more"
            return ObjectChange(name, Kind.DELETE, f"alias {alias_name}", reason, alias_name, "", "", steps)
        case MakeGroup(name=group) | DropGroup(name=group):
            return _whole(name, f"security group {group}", steps, isinstance(first, MakeGroup))
        case MakeIpSet() | DropIpSet() | PutEntry() | DropEntry():
            return _ipset(name, steps)
    return _rule(name, [step for step in steps if isinstance(step, _RULES)], steps)


def _whole(name: str, what: str, steps: tuple[Step, ...], made: bool) -> ObjectChange:
    if made:
        return ObjectChange(name, Kind.CREATE, what, f"{what} is missing", "", what, "", steps)
    return ObjectChange(name, Kind.DELETE, what, f"{what} is not needed any more", what, "", "", steps)


def _ipset(name: str, steps: tuple[Step, ...]) -> ObjectChange:
    what = f"IP set {name.partition(':')[2]}"
    made = [step for step in steps if isinstance(step, MakeIpSet)]
    dropped = any(isinstance(step, DropIpSet) for step in steps)
    put = [f"{'!' if one.entry.nomatch else ''}{one.entry.cidr}" for one in steps if isinstance(one, PutEntry)]
    taken = [one.cidr for one in steps if isinstance(one, DropEntry)]
    if made:
        said_by = identity(made[0].comment)
        return ObjectChange(name, Kind.CREATE, what, f"{what} is missing", "", ", ".join(put), said_by, steps)
    if dropped:
        return _whole(name, what, steps, False)
    words = [f"lacks {', '.join(put)}"] if put else []
    words += [f"has {', '.join(taken)}, which is not of it"] if taken else []
    return ObjectChange(
        name, Kind.UPDATE, what, f"{what} {' and '.join(words)}", ", ".join(taken), ", ".join(put), "", steps
    )


def _rule(
    name: str, steps: Sequence[InsertRule | UpdateRule | MoveToEnd | DropRule], every: tuple[Step, ...]
) -> ObjectChange | None:
    inserted = [one for one in steps if isinstance(one, InsertRule)]
    updated = [one for one in steps if isinstance(one, UpdateRule)]
    dropped = [one for one in steps if isinstance(one, DropRule)]
    last = updated[-1].rule if updated else steps[-1].rule
    key = identity(last.comment)
    what = "rule"
    if key.startswith(CLOSED):
        return None  # it comes and goes within the run
    text = rule_text(last)
    if inserted:
        return ObjectChange(name, Kind.CREATE, what, f"{text} is missing", "", text, key, every)
    if updated:
        was = updated[0].before
        return ObjectChange(name, Kind.UPDATE, what, differs(was, last), rule_text(was), text, key, every)
    if dropped:
        if dropped[0].exact and key:
            return ObjectChange(name, Kind.UPDATE, what, f"{text} is there more than once", text, text, key, every)
        why = "was left open by a run that ended early" if key.startswith(OPENING) else "is not needed any more"
        return ObjectChange(name, Kind.DELETE, what, f"{text} {why}", text, "", key, every)
    reason = f"{text} stands before rules that it hides"
    return ObjectChange(name, Kind.UPDATE, what, reason, text, text, key, every)
