"""The flows of zones.yaml made exact: no "all", no "varies", only containers and ports.

The firewall is compiled from :func:`expand_flows`; the validator compares that with :func:`expand_needs`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zentoria_infra.inventory.network_model import ALL
from zentoria_infra.inventory.problems import Position

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Egress, Inventory, Need, Port, Service


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class ExpandedFlow:
    """Leave for one container (or the internet) to reach an interval of ports of one other container.

    Exactly one of ``row`` (of the firewall matrix) and ``derived`` (the reason) is set.
    """

    source: str
    """Container name, or ``internet``."""
    destination: str
    """Container name."""
    protocol: str
    first: int
    last: int
    row: int | None
    derived: str | None
    purpose: str
    position: Position
    number: int
    """Of the flow in zones.yaml, from 0: what one flow says belongs together."""

    @property
    def origin(self) -> str:
        """``row 7`` or ``derived: the reason``."""
        return f"row {self.row}" if self.row is not None else f"derived: {self.derived}"

    @property
    def ports(self) -> str:
        """``5432`` or ``9300-9301``."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class ExpandedNeed:
    """One interval of ports of another container that a service calls."""

    source: str
    destination: str
    protocol: str
    first: int
    last: int
    by: str
    """Name of the calling service."""
    position: Position


def expand_flows(inventory: Inventory) -> tuple[ExpandedFlow, ...]:
    """Every flow with exact ends and ports, in the order of zones.yaml; pure.

    ``all`` becomes every other container; ``exposes`` becomes the ports of these kinds that each destination
    declares (a container that exposes none takes no part). Names that no container has are passed over.
    """
    return inventory.remembered("flows", lambda: _flows(inventory))


def _flows(inventory: Inventory) -> tuple[ExpandedFlow, ...]:
    by_name = {container.name: container for container in inventory.containers}
    found: list[ExpandedFlow] = []
    for number, flow in enumerate(inventory.flows):
        sources = sorted(by_name) if flow.source == ALL else [flow.source]
        targets = sorted(by_name) if flow.destination == ALL else [flow.destination]
        where = f"flows.{number}"
        for source in sources:
            for target in targets:
                if source == target or target not in by_name:
                    continue
                if flow.exposes:
                    at = inventory.position("zones", f"{where}.exposes")
                    intervals = [
                        (port.port.first, port.port.last, at)
                        for _, port in ports_of(by_name[target])
                        if port.kinds & set(flow.exposes) and port.protocol == flow.protocol
                    ]
                else:
                    intervals = [
                        (port.first, port.last, inventory.position("zones", f"{where}.ports.{index}"))
                        for index, port in enumerate(flow.ports)
                    ]
                found.extend(
                    ExpandedFlow(
                        source, target, flow.protocol, first, last, flow.row, flow.derived, flow.purpose, at, number
                    )
                    for first, last, at in intervals
                )
    return tuple(found)


def expand_needs(inventory: Inventory) -> tuple[ExpandedNeed, ...]:
    """What services call in other containers, with exact ports, by container and service; pure.

    A need without ``ports`` and ``exposes`` means every port of the target that is more than metrics. Targets that
    do not exist are passed over (the validator names them).
    """
    return inventory.remembered("needs", lambda: _needs(inventory))


def _needs(inventory: Inventory) -> tuple[ExpandedNeed, ...]:
    by_name: dict[str, list[Container]] = {}
    for container in inventory.containers:
        by_name.setdefault(container.name, []).append(container)
    return tuple(
        ExpandedNeed(container.name, target.name, protocol, first, last, service.name, at)
        for container in inventory.containers
        for service in container.services
        for number, need in enumerate(service.needs)
        for at in [inventory.position(container, f"services.{service.name}.needs.{number}")]
        for target in (inventory.containers if need.service == ALL else by_name.get(need.container, ()))
        if target.name != container.name
        for protocol, first, last in need_intervals(target, need)
    )


def need_intervals(target: Container, need: Need) -> list[tuple[str, int, int]]:
    """Protocol, first and last port that a need asks of one container."""
    exposed = [port for service, port in ports_of(target) if need.service_name in ("", service.name)]
    if need.ports:
        intervals: list[tuple[str, int, int]] = []
        for wanted in need.ports:
            protocols = [port.protocol for port in exposed if wanted.first in port.port.numbers] or ["tcp"]
            intervals.append((protocols[0], wanted.first, wanted.last))
        return intervals
    kinds = set(need.exposes) or {"data", "api", "ui"}
    return [(port.protocol, port.port.first, port.port.last) for port in exposed if port.kinds & kinds]


def ports_of(container: Container) -> Iterator[tuple[Service, Port]]:
    """Every port that a container exposes, with its service."""
    for service in container.services:
        for port in service.exposes:
            yield service, port


def egress_of(container: Container) -> Iterator[tuple[str, Egress]]:
    """Every egress entry of a container and of its services, with its path in the container's file."""
    for number, entry in enumerate(container.egress):
        yield f"egress.{number}", entry
    for service in container.services:
        for number, entry in enumerate(service.egress):
            yield f"services.{service.name}.egress.{number}", entry
