"""What moved since a plan was saved, in words: two saved plans are compared, that of then and that of now. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zentoria_infra.firewall.config import Configuration, Datacenter, Guest, Rule
from zentoria_infra.plan.masking import MASK
from zentoria_infra.plan.model.document import PlanDocument
from zentoria_infra.plan.model.snapshots import is_our_name
from zentoria_infra.plan.saved.saved_plan import GuestHashes, SavedPlan
from zentoria_infra.plan.saved.state_file import ContainerState, InsideState, StateDocument, dump, plain

_LONGEST = 60
"""Characters of a value that are told."""
_MOST = 4
"""Values or rules of one object that are told."""
_NOT_DONE = {
    "plan": ("totals", "unknown"),
    "listing": ("where", "origin"),
    "attributes": ("where",),
}
"""What a plan says of a change besides what is done; it may differ from machine to machine."""


def moved(saved: SavedPlan, now: SavedPlan) -> tuple[str, ...]:
    """Everything that is not as it was when the plan was saved; nothing when it can be carried out as it is.

    Args:
        saved: the plan of then.
        now: the plan that was made anew, for the same containers.
    """
    found = [*_frame(saved, now)]
    names = _names(saved.plan) | _names(now.plan)
    state = _but_for_snapshots(saved.state, now.state)
    found += _seen(saved.state, state, names)
    found += _guests(saved, now, names)
    if not found and (dump(saved.state), saved.guests) != (dump(state), now.guests):
        found.append("what was observed is not the same, in something that has no words of its own")
    if not found:
        found += _plans(saved.plan, now.plan)
    return tuple(found)


def _but_for_snapshots(then: StateDocument, now: StateDocument) -> StateDocument:
    """What is there now, with the containers as they were then that nothing has happened to but snapshots of ours.

    Such a snapshot makes another digest and another ``parent``; what a plan is made from stays as it is. Where values
    are masked, nobody can tell, and the digest counts.
    """
    before = {one.vmid: one for one in then.containers}
    same = (
        before.get(one.vmid, one) if _is_snapshot_alone(before.get(one.vmid), one) else one for one in now.containers
    )
    return now.model_copy(update={"containers": tuple(same)})


def _is_snapshot_alone(then: ContainerState | None, now: ContainerState) -> bool:
    if then is None or then.config.get("parent") == now.config.get("parent"):
        return False
    newest = (one.config["parent"] for one in (then, now) if "parent" in one.config)
    if not all(is_our_name(name) for name in newest):
        return False
    bare = [
        one.model_copy(update={"digest": "", "config": {k: v for k, v in one.config.items() if k != "parent"}})
        for one in (then, now)
    ]
    return bare[0] == bare[1] and not any(MASK in value for value in now.config.values())


def _names(plan: PlanDocument) -> dict[int, str]:
    return {one.vmid: one.name for one in plan.containers}


def _frame(saved: SavedPlan, now: SavedPlan) -> Iterator[str]:
    if saved.tool != now.tool:
        yield f"Zentoria: the plan was made by version {saved.tool}, this is {now.tool}"
    if saved.site != now.site:
        yield f"the site: the plan is for {saved.site}, this is {now.site}"
    if saved.node != now.node:
        yield f"the node: the plan is for {saved.node}, this is {now.node}"
    if saved.inventory != now.inventory:
        yield f"the inventory has changed since (hash {saved.inventory[:12]} -> {now.inventory[:12]})"
    if saved.selected != now.selected:
        yield f"the choice of containers: {_choice(saved.selected)} -> {_choice(now.selected)}"


def _choice(selected: tuple[int, ...] | None) -> str:
    return "all" if selected is None else ", ".join(map(str, selected)) or "none"


def _seen(then: StateDocument, now: StateDocument, names: Mapping[int, str]) -> Iterator[str]:
    before = {one.vmid: one for one in then.containers}
    after = {one.vmid: one for one in now.containers}
    for vmid in sorted(before.keys() | after.keys()):
        for text in _container(before.get(vmid), after.get(vmid)):
            yield f"container {_named(vmid, names)}: {text}"
    besides = {one.vmid: one for one in then.others}, {one.vmid: one for one in now.others}
    for vmid in sorted(besides[0].keys() | besides[1].keys()):
        for text in _container(besides[0].get(vmid), besides[1].get(vmid)):
            yield f"container {vmid}, which the inventory does not have: {text}"
    for vmid in sorted(set(then.taken) ^ set(now.taken)):
        what = "is taken now by something that our token may not see" if vmid in now.taken else "is not taken any more"
        yield f"VMID {_named(vmid, names)} {what}"
    yield from (f"new on the node: {text}" for text in now.problems if text not in then.problems)
    yield from (f"no more on the node: {text}" for text in then.problems if text not in now.problems)
    if then.no_inside != now.no_inside:
        yield f"the way into containers: {_value(then.no_inside or 'open')} -> {_value(now.no_inside or 'open')}"
    yield from _firewalls(then, now, names)


def _named(vmid: int, names: Mapping[int, str]) -> str:
    return f"{vmid} ({names[vmid]})" if vmid in names else str(vmid)


def _value(text: str) -> str:
    bare = re.sub(r"\s+", " ", text).strip()
    return (bare if len(bare) <= _LONGEST else f"{bare[: _LONGEST - 3]}...") or "(none)"


def _container(then: ContainerState | None, now: ContainerState | None) -> Iterator[str]:
    if then is None or now is None:
        yield "it did not exist, and does now" if then is None else "it existed, and does not any more"
        return
    for name, was, became in (("kind", then.kind, now.kind), ("node", then.node, now.node)):
        if was != became:
            yield f"its {name} has changed since ({was} -> {became})"
    if then.status != now.status:
        yield f"its status has changed since ({then.status} -> {now.status})"
    if then.digest != now.digest or then.config != now.config:
        yield f"its configuration has changed since ({_differences(then.config, now.config)})"
    if then.pending != now.pending:
        was, became = (", ".join(one.pending) or "nothing" for one in (then, now))
        yield f"what waits for a restart has changed since ({was} -> {became})"


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    told = [f"{key} {_value(then.get(key, ''))} -> {_value(now.get(key, ''))}" for key in keys[:_MOST]]
    if len(keys) > _MOST:
        told.append(f"and {', '.join(keys[_MOST:])}")
    hidden = [key for key, value in now.items() if MASK in value]
    return "; ".join(told) or f"in what is not shown: {', '.join(hidden) or 'a snapshot, or values that wait'}"


def _firewalls(then: StateDocument, now: StateDocument, names: Mapping[int, str]) -> Iterator[str]:
    if then.firewall is None or now.firewall is None:
        if then.firewall is not now.firewall:
            was = "could not be read" if then.firewall is None else "could be read"
            yield f"the firewall {was} then; now: {_value(now.firewall_unknown or 'it can be read')}"
        return
    told = set()
    for whose, text in _configurations(then.firewall, now.firewall):
        told.add(whose)
        yield f"firewall of {_whose(whose, names)}: {text}"
    keys = then.firewall_digests.keys() | now.firewall_digests.keys()
    for key in sorted(key for key in keys if then.firewall_digests.get(key) != now.firewall_digests.get(key)):
        whose, _, part = key.partition("/")
        if whose not in told:
            yield f"firewall of {_whose(whose, names)}: its {part} changed since, in a comment or an object of others"


def _whose(key: str, names: Mapping[int, str]) -> str:
    return f"container {_named(int(key), names)}" if key.isdigit() else f"the {key}"


def _configurations(then: Configuration, now: Configuration) -> Iterator[tuple[str, str]]:
    yield from (("datacenter", text) for text in _objects(then.datacenter, now.datacenter))
    before = {one.vmid: one for one in then.guests}
    after = {one.vmid: one for one in now.guests}
    for vmid in sorted(before.keys() & after.keys()):
        yield from ((str(vmid), text) for text in _objects(before[vmid], after[vmid]))
    # One that came or went shows as a container.


def _objects(then: Datacenter | Guest, now: Datacenter | Guest) -> Iterator[str]:
    if then.options != now.options:
        yield f"its options have changed since ({_differences(then.options, now.options)})"
    for kind, before, after in (
        ("alias", _by_name(then.aliases), _by_name(now.aliases)),
        ("IP set", _by_name(then.ipsets), _by_name(now.ipsets)),
        ("security group", _by_name(getattr(then, "groups", ())), _by_name(getattr(now, "groups", ()))),
    ):
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                what = "is gone" if name not in after else "is new" if name not in before else "has changed"
                yield f"{kind} {name} {what} since"
    gone = [rule for rule in then.rules if rule not in now.rules]
    new = [rule for rule in now.rules if rule not in then.rules]
    yield from _told_rules("gone", gone)
    yield from _told_rules("new", new)
    if then.rules != now.rules and not gone and not new:
        yield "the order or number of its rules has changed since"


def _by_name(objects: Any) -> dict[str, Any]:
    return {one.name: one for one in objects}


def _told_rules(what: str, rules: list[Rule]) -> Iterator[str]:
    for rule in rules[:_MOST]:
        values = {key: value for key, value in plain(rule).items() if key not in ("type", "action")}
        words = [f"{key}={value}" for key, value in values.items()]
        yield f"a rule is {what}: {' '.join([rule.type, rule.action, *words])}"
    if len(rules) > _MOST:
        yield f"{len(rules) - _MOST} more rules are {what}"


def _guests(saved: SavedPlan, now: SavedPlan, names: Mapping[int, str]) -> Iterator[str]:
    before = {one.vmid: one for one in saved.guests}
    after = {one.vmid: one for one in now.guests}
    looks = {one.vmid: one for one in saved.state.guests}, {one.vmid: one for one in now.state.guests}
    for vmid in sorted(before.keys() | after.keys() | looks[0].keys() | looks[1].keys()):
        for text in _inside(before.get(vmid), after.get(vmid), looks[0].get(vmid), looks[1].get(vmid)):
            yield f"inside of container {_named(vmid, names)}: {text}"


def _inside(
    then: GuestHashes | None, now: GuestHashes | None, seen: InsideState | None, sees: InsideState | None
) -> Iterator[str]:
    was, became = _known(seen), _known(sees)
    if was != became:
        yield f"it {was} then, and {became} now"
        return
    if then is None or now is None:
        if then is not now:
            yield "it was not part of the plan then" if then is None else "it is not part of the plan any more"
        return
    if then.recipe != now.recipe:
        yield "what is wanted there has changed since (the inventory, a template or a service)"
    elif then.desired != now.desired:
        yield "what is wanted there has changed since (a password, a certificate or a release)"
    if then.reported != now.reported or (seen != sees and then == now):
        yield f"what is there has changed since ({_resources(seen, sees)})"


def _known(look: InsideState | None) -> str:
    if look is None:
        return "was not looked at"
    return "could be looked at" if look.report is not None else f"could not be looked at ({_value(look.unknown)})"


def _resources(seen: InsideState | None, sees: InsideState | None) -> str:
    """The resources of which the agent says something else now."""
    if seen is None or sees is None or seen.report is None or sees.report is None:
        return "in what is not shown"
    before = {one.id: one for one in seen.report.resources}
    after = {one.id: one for one in sees.report.resources}
    ids = [one for one in {**before, **after} if before.get(one) != after.get(one)]
    told = ", ".join(ids[:_MOST]) + (f" and {len(ids) - _MOST} more" if len(ids) > _MOST else "")
    return told or "in what is not shown"


def _plans(then: PlanDocument, now: PlanDocument) -> Iterator[str]:
    """At last: the plan made anew is the saved one."""
    before, after = (_done(one.model_dump(mode="json"), "plan") for one in (then, now))
    if before == after:
        return
    listed = ({one["id"]: one for one in plan["listing"]} for plan in (before, after))
    was, became = listed
    ids = [one for one in {**was, **became} if was.get(one) != became.get(one)]
    parts = [key for key in {**before, **after} if before.get(key) != after.get(key) and key != "listing"]
    yield f"the plan made now is another one ({', '.join((ids or parts)[:_MOST])})"


def _done(value: Any, name: str) -> Any:
    """A part of a document with nothing but what is done."""
    if isinstance(value, dict):
        return {key: _done(one, key) for key, one in value.items() if key not in _NOT_DONE.get(name, ())}
    return [_done(one, name) for one in value] if isinstance(value, list) else value
