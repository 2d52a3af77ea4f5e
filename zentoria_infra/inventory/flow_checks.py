"""Flows and needs must say the same: what a service calls is allowed, and nothing is allowed that nobody calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zentoria_infra.inventory.flows import expand_flows, expand_needs, need_intervals, ports_of
from zentoria_infra.inventory.model import ALL, INTERNET, Container, Inventory, Need
from zentoria_infra.inventory.problems import Position, Problem, problem
from zentoria_infra.inventory.wording import nearest

_Edge = tuple[str, str, str, int]
"""Source, destination, protocol, port."""


def check_flows(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Problems of flows and needs; nothing is said about containers named in ``broken``."""
    yield from _ends(inventory, broken)
    yield from _rows(inventory)
    for container in inventory.containers:
        for service in container.services:
            for number, need in enumerate(service.needs):
                at = inventory.position(container, f"services.{service.name}.needs.{number}")
                yield from _target(inventory, broken, container, need, at)
    yield from _flows_exposed(inventory)
    yield from _compare(inventory, broken)


def _ends(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    known = {container.name for container in inventory.containers} | broken
    for number, flow in enumerate(inventory.flows):
        for key, name, words in (
            ("source", flow.source, {ALL, INTERNET}),
            ("destination", flow.destination, {ALL}),
        ):
            if name not in known | words:
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


def _target(
    inventory: Inventory, broken: frozenset[str], container: Container, need: Need, at: Position
) -> Iterator[Problem]:
    """A need's container, service and ports must exist."""
    if need.container == ALL:
        if need.service_name:
            yield problem(at, "'all' takes no service: write 'all', and say which ports with 'exposes'")
        return
    names = {other.name for other in inventory.containers}
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
    exposed = {
        n for service, port in ports_of(target) if need.service_name in ("", service.name) for n in port.port.numbers
    }
    for wanted in need.ports:
        missing = [n for n in wanted.numbers if n not in exposed]
        if missing:
            yield problem(at, f"'{need.service}' does not expose port {missing[0]}")
    if not need.ports and target.name != container.name and not need_intervals(target, need):
        kinds = f" of kind {' or '.join(need.exposes)}" if need.exposes else ""
        yield problem(at, f"'{need.service}' exposes no port{kinds}")


def _flows_exposed(inventory: Inventory) -> Iterator[Problem]:
    """A flow leads only to ports that its destination exposes."""
    for flow in expand_flows(inventory):
        target = inventory.by_name(flow.destination)
        open_ports = {n for _, port in ports_of(target) if port.protocol == flow.protocol for n in port.port.numbers}
        missing = [n for n in range(flow.first, flow.last + 1) if n not in open_ports]
        if missing:
            yield problem(flow.position, f"'{flow.destination}' does not expose port {missing[0]}/{flow.protocol}")


def _compare(inventory: Inventory, broken: frozenset[str]) -> Iterator[Problem]:
    """Needs without a flow, and flows without a need."""
    allowed: set[_Edge] = set()
    for flow in expand_flows(inventory):
        allowed.update((flow.source, flow.destination, flow.protocol, n) for n in range(flow.first, flow.last + 1))
    exposed = {
        (container.name, port.protocol, n)
        for container in inventory.containers
        for _, port in ports_of(container)
        for n in port.port.numbers
    }
    needed: set[_Edge] = set()
    refused: dict[tuple[Position, str, str, str], set[int]] = {}
    for need in expand_needs(inventory):
        for number in range(need.first, need.last + 1):
            edge = (need.source, need.destination, need.protocol, number)
            needed.add(edge)
            if edge not in allowed and edge[1:] in exposed:
                key = (need.position, f"{need.source}.{need.by}", need.destination, need.protocol)
                refused.setdefault(key, set()).add(number)
    for (at, by, target, protocol), numbers in refused.items():
        yield problem(at, f"'{by}' needs '{target}' on {_list(numbers, protocol)}, and no flow in zones.yaml allows it")
    for flow in expand_flows(inventory):
        if flow.source == INTERNET or flow.source in broken:
            continue
        idle = [
            n
            for n in range(flow.first, flow.last + 1)
            if (flow.source, flow.destination, flow.protocol, n) not in needed
            and (flow.destination, flow.protocol, n) in exposed
        ]
        if idle:
            ports = _list(idle, flow.protocol)
            text = f"no service of '{flow.source}' needs '{flow.destination}' on {ports} ({flow.origin})"
            yield problem(flow.position, text)


def _list(numbers: Iterable[int], protocol: str) -> str:
    """``4000, 4001/tcp``; more than six are cut."""
    ordered = [str(number) for number in sorted(numbers)]
    shown = ordered if len(ordered) <= 6 else [*ordered[:3], "...", ordered[-1]]
    return f"{', '.join(shown)}/{protocol}"
