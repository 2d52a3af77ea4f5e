"""The way from one configuration to another: no state on it allows more than the two ends of it together.

Steps change little, so each state is compared with the one before it: only filters that a step touches are made anew,
and only what they let through beyond their last state is looked at, at both ends. What a state before it had too much
is told there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping

from zentoria_infra.firewall.change.steps import DropAlias, PutAlias, Step, apply_step
from zentoria_infra.firewall.compiled.parties import Parties
from zentoria_infra.firewall.config import Configuration, Datacenter, Guest, Rule
from zentoria_infra.firewall.proof.allowed import Allowed, Excess
from zentoria_infra.firewall.proof.differences import name_of
from zentoria_infra.firewall.proof.network import Network, assumed_on
from zentoria_infra.firewall.proof.semantics import Blame, Filter, nic_filter
from zentoria_infra.firewall.sets.addresses import Objects, reference
from zentoria_infra.firewall.sets.services import text
from zentoria_infra.inventory.spans import NOTHING, Spans, contains, union


@dataclasses.dataclass(frozen=True, slots=True)
class StepProblem:
    """A state in between that allows too much.

    Args:
        step: number of the state, from 0.
        vmid: guest whose firewall lets it through.
        source: party that sends, or the guest when it is about no pair.
        destination: party that receives; empty when it is about no pair.
        services: what is too much; empty when it is about no pair.
        explanation: all of it in words.
    """

    step: int
    vmid: int
    source: str
    destination: str
    services: str
    explanation: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.explanation}"


def turning_points(before: Configuration, steps: Iterable[Step]) -> Iterator[tuple[int, Configuration]]:
    """Yield the states after steps, each with its last step's number; pure.

    Aliases of the datacenter that nothing names change nothing by coming or going. Steps of that kind that follow one
    another lead to one state, so that a thousand new aliases are no thousand states with a thousand aliases each.

    Args:
        before: the state before the first step.
        steps: in order.
    """
    state = before
    for in_alias, run in itertools.groupby(enumerate(steps), key=lambda one: _is_shared_alias(one[1])):
        named = _every_name(state) if in_alias else frozenset()
        waiting: list[PutAlias | DropAlias] = []
        number = 0
        for number, step in run:
            if isinstance(step, PutAlias | DropAlias) and in_alias and _alias_name(step) not in named:
                waiting.append(step)
                continue
            state = apply_step(_with_aliases(state, waiting), step)
            waiting = []
            yield number, state
        if waiting:
            state = _with_aliases(state, waiting)
            yield number, state


def _is_shared_alias(step: Step) -> bool:
    return isinstance(step, PutAlias | DropAlias) and not step.where.vmid


def _alias_name(step: PutAlias | DropAlias) -> str:
    return (step.alias.name if isinstance(step, PutAlias) else step.name).lower()


def _with_aliases(state: Configuration, steps: Collection[PutAlias | DropAlias]) -> Configuration:
    """The state after steps that are about aliases of the datacenter: as if they were taken one by one."""
    if not steps:
        return state
    aliases = {one.name.lower(): one for one in state.datacenter.aliases}
    for step in steps:
        if isinstance(step, PutAlias):
            aliases[_alias_name(step)] = step.alias
        else:
            aliases.pop(_alias_name(step), None)
    datacenter = dataclasses.replace(state.datacenter, aliases=tuple(aliases.values()))
    return dataclasses.replace(state, datacenter=datacenter)


def _every_name(state: Configuration) -> frozenset[str]:
    """What rules and sets of a state name, wherever it is looked for."""
    shared = state.datacenter
    rules = itertools.chain(*(one.rules for one in state.guests), *(one.rules for one in shared.groups))
    ipsets = itertools.chain(shared.ipsets, *(guest.ipsets for guest in state.guests))
    return frozenset([*_names(rules), *(reference(entry.cidr) for ipset in ipsets for entry in ipset.entries)])


def check_steps(
    before: Configuration,
    steps: Iterable[Configuration],
    after: Configuration,
    parties: Parties,
    stopped: Collection[int] = (),
) -> tuple[StepProblem, ...]:
    """Check every state between two configurations; pure.

    Args:
        before: as it is. A guest that does not run is left out, or named in ``stopped``.
        steps: the states that follow, the last one included.
        after: as it shall be; where it says nothing of the datacenter's switch, it counts as on.
        parties: who there is.
        stopped: VMIDs of guests that do not run before the last step: what they would let through does not count.
    """
    walk = _Walk(_running(before, stopped), parties)
    limit = Allowed(Network(_running(before, stopped), parties), Network(assumed_on(after), parties))
    return tuple(
        _problem(number, excess)
        for number, state in enumerate(steps)
        for excess in _once(walk.go(_running(state, stopped), limit))
    )


def _once(found: Iterable[Excess]) -> Iterable[Excess]:
    """Join what one thing lets through at several addresses; a pair is told at one of its ends."""
    joined: dict[tuple[str, str, str, int, Blame | None], Excess] = {}
    told: dict[tuple[str, str, str], Spans] = {}
    for one in found:
        pair = (one.kind, one.source, one.destination)
        key = (*pair, one.guest.vmid, one.blame)
        if key in joined:
            services = union(joined[key].services, one.services)
            joined[key] = dataclasses.replace(joined[key], services=services)
        elif not one.services or not contains(told.get(pair, NOTHING), one.services):
            joined[key] = one
        told[pair] = union(told.get(pair, NOTHING), one.services)
    return joined.values()


def _running(configuration: Configuration, stopped: Collection[int]) -> Configuration:
    if not stopped:
        return configuration
    guests = tuple(guest for guest in configuration.guests if guest.vmid not in stopped)
    return dataclasses.replace(configuration, guests=guests)


def _problem(number: int, excess: Excess) -> StepProblem:
    vmid, blame = excess.guest.vmid, excess.blame
    services = ""
    if excess.kind == "unfiltered":
        why = f"{vmid} ({excess.source}) is not filtered"
    elif excess.kind == "forged":
        why = f"{vmid} ({excess.source}) may send with an address that is not its own"
    else:
        services = text(excess.services) + (" over IPv6" if excess.kind == "packets6" else "")
        why = f"{excess.source} may send {services} to {excess.destination}"
    by = f": {name_of(blame, excess.guest)}" if blame is not None else ""
    explanation = f"{why}{by}; it may neither before nor after"
    return StepProblem(number, vmid, excess.source, excess.destination, services, explanation)


class _Walk(Network):
    """A network that goes from state to state."""

    def __init__(self, configuration: Configuration, parties: Parties) -> None:
        super().__init__(configuration, parties)
        self._by_vmid = {guest.vmid: guest for guest in configuration.guests}
        self._named: dict[int, tuple[Guest, frozenset[str]]] = {}

    def go(self, state: Configuration, limit: Allowed) -> Iterator[Excess]:
        """Take the next state on; yield what it allows beyond the last one and the limit."""
        changed = self._changed(state)
        old: dict[tuple[str, str], Filter] = {}
        for vmid in changed:
            guest = self._by_vmid.get(vmid)
            if guest is not None:
                name = self.name_of(vmid)
                old |= {(name, nic.key): self.ends[name, nic.key].filter for nic in guest.nics if name}
                self._drop(guest)
        self._take(state, changed)
        for vmid in changed:
            guest = self._by_vmid.get(vmid)
            for nic in guest.nics if guest is not None else ():
                end = self.ends.get((self.name_of(vmid), nic.key))
                if end is not None:
                    yield from limit.lacks(self, end, old.get((end.name, nic.key)))
        for guest, nic, made in self.foreign:
            if guest.vmid in changed:
                yield from limit.lacks_foreign(self, guest, nic.key, made)

    def _changed(self, state: Configuration) -> dict[int, Guest | None]:
        """Guests whose filters may differ in the next state, by VMID: changed, gone, or by what they name."""
        now, then = self.configuration.guests, state.guests
        changed: dict[int, Guest | None] = {}
        if len(now) == len(then) and now is not then:
            pairs = [(old, new) for old, new in zip(now, then, strict=True) if old is not new]
            changed = {old.vmid: None for old, _ in pairs} | {new.vmid: new for _, new in pairs}
        elif now is not then:
            ids = {guest.vmid: guest for guest in then}
            every = self._by_vmid.keys() | ids.keys()
            changed = {vmid: ids.get(vmid) for vmid in every if ids.get(vmid) is not self._by_vmid.get(vmid)}
        if self.configuration.datacenter is not state.datacenter:
            names = changed_names(self.configuration.datacenter, state.datacenter)
            if names is None or names:
                for guest in then:
                    if names is None or not names.isdisjoint(self._names_in(guest)):
                        changed[guest.vmid] = guest
        return dict(sorted(changed.items()))

    def _take(self, state: Configuration, changed: Mapping[int, Guest | None]) -> None:
        if self.configuration.datacenter is not state.datacenter:
            self.objects = Objects(state.datacenter)
        self.configuration = state
        for vmid, guest in changed.items():
            self._by_vmid.pop(vmid, None)
            if guest is not None:
                self._by_vmid[vmid] = guest
                self._put(guest, {nic.key: nic_filter(self.objects, guest, nic) for nic in guest.nics})

    def _names_in(self, guest: Guest) -> frozenset[str]:
        kept = self._named.get(guest.vmid)
        if kept is None or kept[0] is not guest:
            entries = (entry.cidr for ipset in guest.ipsets for entry in ipset.entries)
            kept = self._named[guest.vmid] = guest, frozenset([*_names(guest.rules), *map(reference, entries)])
        return kept[1]


def changed_names(old: Datacenter, new: Datacenter) -> set[str] | None:
    """What means something else in the new datacenter, as rules name it; None when it is the switch."""
    if old.options.get("enable") != new.options.get("enable"):
        return None
    changed = _differing({one.name.lower(): one for one in old.aliases}, {one.name.lower(): one for one in new.aliases})
    sets = _differing({one.name: one for one in old.ipsets}, {one.name: one for one in new.ipsets})
    for ipset in new.ipsets:
        if not changed.isdisjoint(reference(entry.cidr) for entry in ipset.entries):
            sets.add(ipset.name)
    changed |= {f"+{name}" for name in sets}
    groups = _differing({one.name: one for one in old.groups}, {one.name: one for one in new.groups})
    groups |= {group.name for group in new.groups if not changed.isdisjoint(_names(group.rules))}
    return changed | {f"group {name}" for name in groups}


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    if len(old) == len(new) and all(new.get(name) is one for name, one in old.items()):
        return set()
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _names(rules: Iterable[Rule]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "group":
            yield f"group {rule.action}"
        else:
            yield reference(rule.source)
            yield reference(rule.dest)
