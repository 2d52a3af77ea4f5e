"""Policy tests against what is really allowed: every exact flow and every egress entry."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping

from zentoria_infra.inventory import spans
from zentoria_infra.inventory.assertion_model import ZONE, Assertion, Exempt
from zentoria_infra.inventory.flows import egress_of, expand_flows, ports_of
from zentoria_infra.inventory.model import ALL, INTERNET, Container, Inventory
from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.spans import Spans
from zentoria_infra.inventory.wording import nearest, port_list

_Pair = tuple[str, str]
"""Source and destination."""

SHOWN = 3
"""How many pairs are named in one message."""


@dataclasses.dataclass(frozen=True, slots=True)
class Edge:
    """Something that is allowed: an exact flow, or an egress entry (to ``internet``, or an address of our networks)."""

    source: str
    destination: str
    protocol: str
    first: int
    last: int
    origin: str
    position: Position


def edges(inventory: Inventory) -> Iterator[Edge]:
    """Everything that is allowed, in the order of zones.yaml, then egress by container; pure."""
    for flow in expand_flows(inventory):
        yield Edge(flow.source, flow.destination, flow.protocol, flow.first, flow.last, flow.origin, flow.position)
    for container in inventory.containers:
        for path, entry in egress_of(container):
            at = inventory.position(container, path)
            for host in dict.fromkeys(INTERNET if _is_outside(inventory, host) else host for host in entry.to):
                for ports in entry.ports:
                    yield Edge(container.name, host, entry.protocol, ports.first, ports.last, "egress", at)


def _is_outside(inventory: Inventory, host: str) -> bool:
    """Whether a name or an address leads to the internet: an address of our networks does not."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return not any(address in network.cidr for network in inventory.networks)


def check_assertions(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Yield assertions that name what is not there, say nothing, or do not hold; each with the line that breaks it.

    Args:
        inventory: what could be read.
        broken: names of containers whose files could not be: nothing is said about what leads to them.
    """
    if not inventory.assertions:
        return
    allowed = tuple(edges(inventory))
    world = _World(inventory, broken)
    for number, assertion in enumerate(inventory.assertions):
        wrong = tuple(_names(world, assertion, number))
        yield from wrong
        if wrong:
            continue
        if assertion.deny is not None:
            yield from _denied(world, assertion, number, allowed)
        else:
            yield from _missing(world, assertion, number, allowed)


class _World:
    """What names mean."""

    def __init__(self, inventory: Inventory, broken: frozenset[str]) -> None:
        self.inventory = inventory
        self.broken = broken
        self.containers: Mapping[str, Container] = {container.name: container for container in inventory.containers}
        self.zones = {zone.name for zone in inventory.zones}

    def at(self, number: int, path: str = "") -> Position:
        return self.inventory.position("zones", f"assert.{number}.{path}" if path else f"assert.{number}")

    def members(self, who: str) -> frozenset[str]:
        """Names of containers, and ``internet``, that one word means."""
        if who == ALL:
            return frozenset(self.containers)
        if who.startswith(ZONE):
            zone = who.removeprefix(ZONE)
            return frozenset(name for name, container in self.containers.items() if container.zone == zone)
        return frozenset((who,))

    def all_of(self, words: Iterable[str]) -> frozenset[str]:
        return frozenset(name for who in words for name in self.members(who))

    def pairs(self, assertion: Assertion) -> tuple[frozenset[str], frozenset[str]]:
        """Sources and destinations that an assertion speaks of."""
        passed = self.all_of(item.name for item in assertion.exempt if item.name is not None)
        return self.all_of(assertion.whose) - passed, self.all_of(assertion.to) - passed

    def exempt_ports(self, assertion: Assertion) -> Callable[[str], Spans]:
        """The ports that an assertion passes over, by destination."""

        @functools.cache
        def of(destination: str) -> Spans:
            target = self.containers.get(destination)
            return spans.normal(interval for item in assertion.exempt for interval in _ports(item, target))

        return of


def _ports(item: Exempt, target: Container | None) -> Iterator[tuple[int, int]]:
    if item.ports is not None:
        yield item.ports.first, item.ports.last
    if item.exposes is not None and target is not None:
        for _, port in ports_of(target):
            if item.exposes in port.kinds:
                yield port.port.first, port.port.last


def _names(world: _World, assertion: Assertion, number: int) -> Iterator[Problem]:
    """Names that nothing has, and assertions that cannot fail because they speak of nothing."""
    known = world.containers.keys() | world.broken | {ALL, INTERNET}
    key = "deny" if assertion.deny is not None else "allow"
    places = [(f"{key}.{n}", who) for n, who in enumerate(assertion.whose)]
    places += [(f"to.{n}", who) for n, who in enumerate(assertion.to)]
    places += [(f"except.{n}", item.name) for n, item in enumerate(assertion.exempt) if item.name is not None]
    wrong = False
    for path, who in places:
        zone = who.removeprefix(ZONE)
        if who.startswith(ZONE) and zone not in world.zones:
            wrong = True
            yield problem(world.at(number, path), f"there is no zone '{zone}'{nearest(zone, world.zones)}")
        elif not who.startswith(ZONE) and who not in known:
            wrong = True
            hint = f"; write 'zone:{who}' for the zone" if who in world.zones else nearest(who, known)
            yield problem(world.at(number, path), f"there is no container '{who}'{hint}")
    if wrong or world.broken:
        return
    spoken = world.all_of((*assertion.whose, *assertion.to))
    for n, item in enumerate(assertion.exempt):
        if item.name is not None and not world.members(item.name) & spoken:
            yield problem(world.at(number, f"except.{n}"), f"the assertion does not speak of '{item.name}' anyway")
    sources, targets = world.pairs(assertion)
    if not any(source != target for source in sources for target in targets):
        yield problem(world.at(number), "this assertion speaks of nothing: no source and destination are left")


def _denied(world: _World, assertion: Assertion, number: int, allowed: Iterable[Edge]) -> Iterator[Problem]:
    """One problem for each line that allows what is denied."""
    exempt = world.exempt_ports(assertion)
    found: dict[tuple[Position, str], dict[tuple[str, str, str], list[tuple[int, int]]]] = {}
    for edge in _spoken_of(world, assertion, allowed):
        if assertion.protocol not in (None, edge.protocol):
            continue
        ports = spans.difference(_wanted(assertion, ((edge.first, edge.last),)), exempt(edge.destination))
        if ports:
            pair = (edge.source, edge.destination, edge.protocol)
            found.setdefault((edge.position, edge.origin), {}).setdefault(pair, []).extend(ports)
    for (at, origin), pairs in found.items():
        words = _some(
            [f"'{s}' -> '{d}' on {port_list(spans.normal(n), protocol)}" for (s, d, protocol), n in pairs.items()]
        )
        text = f"this denies {words}, which {at} allows ({origin}). Because: {assertion.because}"
        yield problem(world.at(number), text)


def _missing(world: _World, assertion: Assertion, number: int, allowed: Iterable[Edge]) -> Iterator[Problem]:
    """One problem for all pairs that cannot reach each other as they must."""
    protocol = assertion.protocol or "tcp"
    open_to: dict[_Pair, list[tuple[int, int]]] = {}
    for edge in _spoken_of(world, assertion, allowed):
        if edge.protocol == protocol:
            open_to.setdefault((edge.source, edge.destination), []).append((edge.first, edge.last))
    wanted = spans.normal((ports.first, ports.last) for ports in assertion.ports)
    missing: dict[_Pair, Spans] = {}
    sources, targets = world.pairs(assertion)
    for source in sorted(sources):
        for target in sorted(targets - {source}):
            open_ports = spans.normal(open_to.get((source, target), ()))
            if spans.difference(wanted, open_ports) or not open_ports:
                missing[source, target] = spans.difference(wanted, open_ports)
    if missing:
        words = _some(
            [f"'{s}' -> '{d}' on {port_list(n, protocol) if n else 'any port'}" for (s, d), n in missing.items()]
        )
        first = next(iter(missing.items()))
        text = f"this demands {words}, and no flow allows it{_forbidden(world, *first, protocol)}"
        yield problem(world.at(number), f"{text}. Because: {assertion.because}")


def _forbidden(world: _World, pair: _Pair, ports: Spans, protocol: str) -> str:
    """Words about the assertion that denies the same, if there is one: then no flow can put it right."""
    for number, other in enumerate(world.inventory.assertions):
        sources, targets = world.pairs(other)
        speaks = other.protocol in (None, protocol) and pair[0] in sources and pair[1] in targets
        if other.deny is None or not speaks:
            continue
        exempt = world.exempt_ports(other)(pair[1])
        if spans.difference(_wanted(other, ports), exempt) or not (ports or exempt or other.ports):
            return f" (the assertion in {world.at(number)} denies it)"
    return ""


def _spoken_of(world: _World, assertion: Assertion, allowed: Iterable[Edge]) -> Iterator[Edge]:
    sources, targets = world.pairs(assertion)
    return (edge for edge in allowed if edge.source in sources and edge.destination in targets)


def _wanted(assertion: Assertion, ports: Spans) -> Spans:
    """Those ports that an assertion speaks of."""
    if not assertion.ports:
        return ports
    return spans.intersection(ports, spans.normal((wanted.first, wanted.last) for wanted in assertion.ports))


def _some(texts: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
