"""The rules of a node, held against what guests need of it: does its own chain let that in? Pure.

``PVEFW-HOST-IN`` has the node's rules first, then the datacenter's; the first that matches decides, and what none
matches is dropped (but for management). Source: pve-firewall, ``enable_host_firewall``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping

from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import NODE
from zentoria_infra.firewall.config import Configuration, Datacenter, Node, Rule
from zentoria_infra.firewall.identity import identity, is_of_site
from zentoria_infra.firewall.proof.differences import Difference, Kind, Positions
from zentoria_infra.firewall.proof.semantics import Clause, clause_of
from zentoria_infra.firewall.sets.addresses import Objects
from zentoria_infra.firewall.sets.services import InvalidRuleError
from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.spans import contains, meets

_FEW = 8
"""Addresses up to which a rule is found by each of them."""


def unmet(
    compiled: Compiled, there: Configuration, addresses: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, Rule, Position, str]]:
    """Yield what a node does not let in of what guests need of it, where its rules are somebody else's to make.

    Args:
        compiled: with the rules that are needed.
        there: the datacenter's rules and objects, and the nodes' rules, as read.
        addresses: of each node, as far as they are known: a gateway may be another machine.

    Returns:
        The node, the rule that it lacks, the place that asks for it, and why what is there is not enough.
    """
    plain, objects = Objects(Datacenter()), Objects(there.datacenter)
    for node in there.nodes:
        if node.options.get("enable", "1") == "0":
            continue  # a node without its firewall takes everything
        chain = _Chain(objects, [*node.rules, *there.datacenter.rules])
        for rule, place in compiled.by_hand:
            if rule.dest not in addresses.get(node.name, ()):
                continue
            lacks = {
                source: why
                for source in rule.source.split(",")
                for want in [clause_of(plain, dataclasses.replace(rule, source=source))]
                if (why := chain.lacks(want))
            }
            if lacks:
                left = dataclasses.replace(rule, source=",".join(lacks))
                yield node.name, left, place, next(iter(lacks.values()))


def node_differences(
    compiled: Compiled, there: Configuration, positions: Positions, addresses: Mapping[str, Collection[str]]
) -> Iterator[Difference]:
    """Yield what the nodes do not let in and should, and rules of ours that let in what nobody asked for."""
    for name, rule, place, why in unmet(compiled, there, addresses):
        told = f"{name} does not let it in: {why}; such rules are yours to make (`firewall.objects: guest`)"
        services = f"{rule.proto}/{rule.dport}"
        yield Difference(Kind.MISSING, rule.source, f"{NODE} ({rule.dest})", services, 0, rule, None, place, told)
    shared = compiled.configuration.datacenter
    intended, objects = Objects(shared), Objects(there.datacenter)
    # a node without its firewall takes everything
    nodes = [one for one in there.nodes or (Node("the node"),) if one.options.get("enable", "1") != "0"]
    chains = [(one, _Chain(objects, [*one.rules, *there.datacenter.rules])) for one in nodes]
    for rule in shared.rules:
        want = clause_of(intended, rule)
        for node, chain in chains:
            if why := chain.lacks(want):
                yield _difference(Kind.MISSING, rule, positions, f"{node.name} does not let it in: {why}")
    known = {(one.type, identity(one.comment)): one for one in shared.rules}
    for rule in there.datacenter.rules:
        if not shared.site or not is_of_site(rule.comment, shared.site) or not rule.enable:
            continue
        asked = known.get((rule.type, identity(rule.comment)))
        if asked is None or _plain(asked) != _plain(rule):
            yield _difference(Kind.EXTRA, rule, positions, "a rule of ours for the nodes lets in what nobody asked for")


class _Chain:
    """The rules that let something into a node, read once; what is wanted of it finds those that may be about it.

    Every container may want something of its node, and has a rule for it: each held against each would take hours.

    Args:
        objects: of the datacenter.
        rules: in their order.
    """

    def __init__(self, objects: Objects, rules: Iterable[Rule]) -> None:
        self._denying: list[tuple[int, Rule, Clause]] = []
        self._of_address: dict[int, list[tuple[int, Clause]]] = {}
        self._wide: list[tuple[int, Clause]] = []
        self._vanished = ""
        for number, rule in enumerate(_flat(objects, rules)):
            try:
                one = clause_of(objects, rule)
            except InvalidRuleError as error:
                gone = f"; the rule {_name(rule)} {error}, so that Proxmox leaves it out"
                self._vanished = self._vanished or gone
                continue
            if not one.accept:
                self._denying.append((number, rule, one))
            elif rule.iface:
                continue  # on which interface packets come, only the node knows: a rule for one may miss them
            elif len(one.far_sure) <= _FEW and all(first == last for first, last in one.far_sure):
                for address, _ in one.far_sure:
                    self._of_address.setdefault(address, []).append((number, one))
            else:
                self._wide.append((number, one))

    def lacks(self, want: Clause) -> str:
        """Why it does not let something in; empty when it does."""
        nearby = self._of_address.get(want.far[0][0], []) if want.far else []
        accepted = min((number for number, one in (*nearby, *self._wide) if _covers(one, want)), default=None)
        for number, rule, one in self._denying:
            if accepted is not None and number > accepted:
                break
            if _touches(one, want):
                return f"the rule {_name(rule)} denies it first"
        return "" if accepted is not None else f"no rule of the datacenter or the node accepts it{self._vanished}"


def _flat(objects: Objects, rules: Iterable[Rule]) -> Iterator[Rule]:
    for rule in rules:
        if not rule.enable:
            continue
        group = objects.group(rule.action) if rule.type == "group" else None
        if group is not None:
            yield from (part for part in group.rules if part.enable and part.type == "in")
        elif rule.type == "in":
            yield rule


def _covers(one: Clause, want: Clause) -> bool:
    return (
        contains(one.far_sure, want.far)
        and contains(one.near_sure, want.near)
        and contains(one.services.lower, want.services.upper)
    )


def _touches(one: Clause, want: Clause) -> bool:
    return meets(one.far, want.far) and meets(one.near, want.near) and meets(one.services.upper, want.services.upper)


def _plain(rule: Rule) -> tuple[str, ...]:
    return rule.action, rule.source, rule.dest, rule.proto, rule.dport, rule.sport, rule.iface, rule.macro


def _name(rule: Rule) -> str:
    return identity(rule.comment) or f"'{rule.type.upper()} {rule.action}', not made by Zentoria,"


def _difference(kind: Kind, rule: Rule, positions: Positions, why: str) -> Difference:
    source = rule.source.rpartition("_")[2] or "anybody"
    services = f"{rule.proto}/{rule.dport}" if rule.proto else "any"
    place: Position = positions.of_word(identity(rule.comment)) or positions.of_datacenter()
    return Difference(kind, source, f"{NODE} ({rule.dest})", services, 0, rule, None, place, why)
