"""Flows and needs must say the same: what a service calls is allowed, and nothing is allowed that nobody calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set

from zentoria_infra.inventory import spans
from zentoria_infra.inventory.flows import (
    ExpandedFlow,
    ExpandedNeed,
    expand_flows,
    expand_needs,
    need_intervals,
    ports_of,
)
from zentoria_infra.inventory.model import ALL, INTERNET, Container, Flow, Inventory, Need
from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.spans import Spans
from zentoria_infra.inventory.wording import nearest, port_list

_Pair = tuple[str, str, str]
"""Source, destination, protocol."""

SHOWN = 3
"""How many pairs of one flow with ``all`` are named one by one."""


def check_flows(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Problems of flows and needs; nothing is said about containers named in ``broken``."""
    yield from _ends(inventory, broken)
    yield from _rows(inventory)
    yield from _overlaps(inventory)
    names = {container.name for container in inventory.containers}
    for container in inventory.containers:
        for service in container.services:
            for number, need in enumerate(service.needs):
                at = inventory.position(container, f"services.{service.name}.needs.{number}")
                yield from _target(inventory, names, broken, container, need, at)
    yield from _flows_exposed(inventory)
    yield from _compare(inventory, broken)


def _ends(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    known = {container.name for container in inventory.containers} | broken
    for number, flow in enumerate(inventory.flows):
        for key, name, words in (
            ("source", flow.source, {ALL, INTERNET}),
            ("destination", flow.destination, {ALL}),
        ):
            if name not in known and name not in words:
                at = inventory.position("zones", f"flows.{number}.{key}")
                yield problem(at, f"there is no container '{name}'{nearest(name, known | words)}")
        if flow.source == flow.destination != ALL:
            at = inventory.position("zones", f"flows.{number}.destination")
            yield problem(at, f"'{flow.source}' needs no flow to itself")


def _rows(inventory: Inventory) -> Iterator[Problem]:
    seen: dict[int, str] = {}
    for number, flow in enumerate(inventory.flows):
        if flow.row is None:
            continue
        at = inventory.position("zones", f"flows.{number}.row")
        other = seen.setdefault(flow.row, str(at))
        if other != str(at):
            yield problem(at, f"row {flow.row} is used twice; also in {other}")


def _overlaps(inventory: Inventory) -> Iterator[Problem]:
    """Flows that allow what an earlier one allows: who removes one of them believes that it is closed, and it is not.

    Two flows with ``all`` may meet where neither could say less: ``backup -> all`` and ``all -> logs``.
    """
    together: defaultdict[_Pair, list[tuple[int, ExpandedFlow]]] = defaultdict(list)
    for at, one in enumerate(expand_flows(inventory)):
        together[one.source, one.destination, one.protocol].append((at, one))
    meeting = sorted(pair for group in together.values() for pair in _meeting(group))
    flows = expand_flows(inventory)
    found: dict[tuple[int, int], tuple[ExpandedFlow, ExpandedFlow, dict[tuple[str, str], list[tuple[int, int]]]]] = {}
    for at, earlier in meeting:
        flow, other = flows[at], flows[earlier]
        if _one_covers(inventory.flows[flow.number], inventory.flows[other.number]):
            _, _, pairs = found.setdefault((flow.number, other.number), (flow, other, {}))
            common = (max(flow.first, other.first), min(flow.last, other.last))
            pairs.setdefault((flow.source, flow.destination), []).append(common)
    for (number, other_number), (flow, other, pairs) in found.items():
        if number != other_number:
            (source, target), ports = next(iter(pairs.items()))
            more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
            text = (
                f"'{source}' -> '{target}' on {port_list(spans.normal(ports), flow.protocol)}{more} is allowed already"
            )
            yield problem(flow.position, f"{text} in {other.position} ({other.origin})")
        elif not inventory.flows[number].exposes:
            yield problem(flow.position, f"port {min(min(ports)[0] for ports in pairs.values())} is in this flow twice")


def _meeting(group: Iterable[tuple[int, ExpandedFlow]]) -> Iterator[tuple[int, int]]:
    """Numbers of two flows of one pair that have ports in common, the later one first.

    Only those that are still open where the next one begins are held against it: thousands of single ports take no
    longer than it takes to sort them.
    """
    open_now: list[tuple[int, ExpandedFlow]] = []
    for at, one in sorted(group, key=lambda item: item[1].first):
        open_now = [(number, other) for number, other in open_now if other.last >= one.first]
        yield from ((max(at, number), min(at, number)) for number, _ in open_now)
        open_now.append((at, one))


def _one_covers(one: Flow, other: Flow) -> bool:
    """Whether the ends of one of two flows include those of the other."""

    def covers(wide: Flow, narrow: Flow) -> bool:
        return wide.source in (ALL, narrow.source) and wide.destination in (ALL, narrow.destination)

    return covers(one, other) or covers(other, one)


def _target(
    inventory: Inventory, names: Set[str], broken: frozenset[str], container: Container, need: Need, at: Position
) -> Iterator[Problem]:
    """A need's container, service and ports must exist."""
    if need.container == ALL:
        if need.service_name:
            yield problem(at, "'all' takes no service: write 'all', and say which ports with 'exposes'")
        return
    if need.container not in names:
        if need.container not in broken:
            yield problem(at, f"there is no container '{need.container}'{nearest(need.container, names)}")
        return
    target = inventory.by_name(need.container)
    services = {service.name for service in target.services}
    if need.service_name and need.service_name not in services:
        text = f"'{need.container}' has no service '{need.service_name}'{nearest(need.service_name, services)}"
        yield problem(at, text)
        return
    exposed = spans.normal(
        (port.port.first, port.port.last)
        for service, port in ports_of(target)
        if need.service_name in ("", service.name)
    )
    for wanted in need.ports:
        missing = spans.difference(((wanted.first, wanted.last),), exposed)
        if missing:
            yield problem(at, f"'{need.service}' does not expose port {missing[0][0]}")
    if not need.ports and target.name != container.name and not need_intervals(target, need):
        kinds = f" of kind {' or '.join(need.exposes)}" if need.exposes else ""
        yield problem(at, f"'{need.service}' exposes no port{kinds}")


def _exposed(inventory: Inventory) -> Mapping[tuple[str, str], Spans]:
    """The ports that each container exposes, by its name and protocol."""
    found: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for container in inventory.containers:
        for _, port in ports_of(container):
            found[container.name, port.protocol].append((port.port.first, port.port.last))
    return {key: spans.normal(ports) for key, ports in found.items()}


def _flows_exposed(inventory: Inventory) -> Iterator[Problem]:
    """A flow leads only to ports that its destination exposes."""
    exposed = _exposed(inventory)
    for flow in expand_flows(inventory):
        open_ports = exposed.get((flow.destination, flow.protocol), spans.NOTHING)
        missing = spans.difference(((flow.first, flow.last),), open_ports)
        if missing:
            yield problem(flow.position, f"'{flow.destination}' does not expose port {missing[0][0]}/{flow.protocol}")


def _by_pair(flows: Iterable[ExpandedFlow | ExpandedNeed]) -> Mapping[_Pair, Spans]:
    found: defaultdict[_Pair, list[tuple[int, int]]] = defaultdict(list)
    for one in flows:
        found[one.source, one.destination, one.protocol].append((one.first, one.last))
    return {pair: spans.normal(ports) for pair, ports in found.items()}


def _compare(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Needs without a flow, and flows without a need."""
    exposed = _exposed(inventory)
    allowed = _by_pair(expand_flows(inventory))
    needed = _by_pair(expand_needs(inventory))
    refused: dict[tuple[Position, str, str, str], list[tuple[int, int]]] = {}
    for need in expand_needs(inventory):
        pair = (need.source, need.destination, need.protocol)
        there = spans.intersection(((need.first, need.last),), exposed.get(pair[1:], spans.NOTHING))
        if missing := spans.difference(there, allowed.get(pair, spans.NOTHING)):
            key = (need.position, f"{need.source}.{need.by}", need.destination, need.protocol)
            refused.setdefault(key, []).extend(missing)
    for (at, by, target, protocol), ports in refused.items():
        numbers = port_list(spans.normal(ports), protocol)
        yield problem(at, f"'{by}' needs '{target}' on {numbers}, and no flow in zones.yaml allows it")
    known = {container.name for container in inventory.containers} - broken
    found: defaultdict[tuple[Position, str], list[str]] = defaultdict(list)
    for flow in expand_flows(inventory):
        if flow.source not in known:
            continue
        pair = (flow.source, flow.destination, flow.protocol)
        there = spans.intersection(((flow.first, flow.last),), exposed.get(pair[1:], spans.NOTHING))
        if idle := spans.difference(there, needed.get(pair, spans.NOTHING)):
            text = f"no service of '{flow.source}' needs '{flow.destination}' on {port_list(idle, flow.protocol)}"
            found[flow.position, flow.origin].append(text)
    for (at, origin), texts in found.items():
        for text in texts[:SHOWN]:
            yield problem(at, f"{text} ({origin})")
        if len(texts) > SHOWN:
            yield problem(at, f"nor are {len(texts) - SHOWN} more that it allows needed ({origin})")
