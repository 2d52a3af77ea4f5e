"""The inventory: the whole that ``load`` makes, and its parts under one name. All of it is frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ConfigDict, Field, PrivateAttr

from zentoria_infra.inventory.assertion_model import Assertion
from zentoria_infra.inventory.component_model import (
    AptComponent,
    AptRepository,
    Component,
    NpmComponent,
    PypiComponent,
    UrlComponent,
    WorkspaceComponent,
)
from zentoria_infra.inventory.container_model import (
    Container,
    Egress,
    Features,
    Health,
    Maximum,
    Need,
    PolicyRule,
    Port,
    PublicNic,
    Resources,
    Service,
    Startup,
    Volume,
)
from zentoria_infra.inventory.network_model import ALL, INTERNET, Flow, Network, Zone, Zones
from zentoria_infra.inventory.order import start_order
from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.site_model import DebSource, ProxmoxSite, Site, SshSite
from zentoria_infra.inventory.values import Address, Model, PortRange
from zentoria_infra.inventory.weights_model import ServedModel
from zentoria_infra.inventory.wish_model import DatabaseWish, Route

__all__ = [
    "ALL", "INTERNET", "AptComponent", "AptRepository", "Assertion", "Component", "Container", "DatabaseWish",
    "DebSource", "Egress", "Features", "Flow", "Health", "Inventory", "Maximum", "Need", "Network", "NpmComponent",
    "PolicyRule", "Port", "PortRange", "ProxmoxSite", "PublicNic", "PypiComponent", "Resources", "Route", "ServedModel",
    "Service", "Site", "SshSite", "Startup", "UrlComponent", "Volume", "WorkspaceComponent", "Zone", "Zones",
]  # fmt: skip

_Found = TypeVar("_Found")


class Positions(Protocol):
    """Where values were written. ``load`` gives the real one."""

    def find(self, section: str, path: str) -> Position:
        """Place of ``path`` (dotted; list items by number) in a section, or of the nearest thing above it."""
        ...


class NoPositions:
    """For inventories that were made in memory."""

    def find(self, section: str, path: str) -> Position:
        """The section's name: there is no file."""
        return Position(section)


class Inventory(Model):
    """Everything: the site, the networks, zones and flows, and the containers sorted by VMID."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    root: Path
    """The project folder: it holds zones.yaml."""
    site: Site
    networks: tuple[Network, ...]
    zones: tuple[Zone, ...]
    reserved: tuple[int, ...] = ()
    flows: tuple[Flow, ...]
    assertions: tuple[Assertion, ...] = ()
    containers: tuple[Container, ...]
    positions: Any = Field(default=NoPositions(), exclude=True, repr=False)
    """A :class:`Positions`."""
    _memory: tuple[tuple[object, ...], dict[str, Any]] | None = PrivateAttr(default=None)

    def by_vmid(self, vmid: int) -> Container:
        """The container with that VMID. Raises KeyError."""
        return self._known()[vmid]

    def by_name(self, name: str) -> Container:
        """The container called so: ``db``, ``zentoria-db`` (its hostname) or ``404``. Raises KeyError."""
        return self._known()[name]

    def _known(self) -> dict[str | int, Container]:
        """Containers by all that they are called, made at the first question."""
        return self.remembered("known", self._names)

    def _names(self) -> dict[str | int, Container]:
        found: dict[str | int, Container] = {}
        for one in self.containers:
            for key in (one.vmid, one.name, one.hostname, one.short_hostname, str(one.vmid)):
                found.setdefault(key, one)
        return found

    def remembered(self, what: str, make: Callable[[], _Found]) -> _Found:
        """Something that follows from containers, flows and positions alone: made at the first question."""
        basis = (self.containers, self.flows, self.positions)
        # a copy may have others
        if self._memory is None or any(one is not other for one, other in zip(self._memory[0], basis, strict=True)):
            self._memory = (basis, {})
        memory = self._memory[1]
        if what not in memory:
            memory[what] = make()
        found: _Found = memory[what]
        return found

    def network(self, name: str) -> Network:
        """The network of that name. Raises KeyError."""
        for network in self.networks:
            if network.name == name:
                return network
        raise KeyError(name)

    def gateway(self, container: Container) -> Address:
        """The default gateway of a container: the site's, else its network's."""
        return self.site.gateway or self.network(container.network).gateway

    def node_of(self, container: Container) -> str:
        """The node on which a container is placed."""
        nodes = self.site.proxmox.nodes
        return nodes.get(container.name) or nodes.get(str(container.vmid)) or self.site.proxmox.node

    def component(self, service: Service) -> Component | None:
        """Where a service's component comes from: the site's word, else the service's own; None: nobody says."""
        return self.site.components.get(service.component) or service.source

    def served(self) -> Mapping[str, tuple[str, ServedModel]]:
        """Name and description of the model that a service serves for each purpose: ``{"chat": ("llama3.2-8k", ...)}``.

        A check of the inventory sees to it that each is known, and that no purpose is served twice.
        """
        return {
            one.name: (one.model, self.site.models[one.model])
            for container in self.containers
            for service in container.services
            for one in service.models
        }

    def start_needs(self, container: Container) -> frozenset[str]:
        """Names of the other containers that must be up before this one is."""
        return frozenset(
            need.container
            for service in container.services
            for need in service.needs
            if need.start and need.container not in (ALL, container.name)
        )

    def container_order(self) -> tuple[Container, ...]:
        """Dependencies first; among equals by start order, then by VMID."""
        return start_order(self.containers, self.start_needs)

    def where(self, item: Container | Flow | Site | str, path: str = "") -> str:
        """``file:line:column`` of a value: ``where(container, "resources.memory")``.

        ``item`` is a container, a flow, the site, or ``"zones"``. Volumes, services and ports go by name
        (``"services.postgresql.unit"``), other list items by number. A default has the place of what it is a part of.
        """
        return str(self.position(item, path))

    def position(self, item: Container | Flow | Site | str, path: str = "") -> Position:
        """The same as :meth:`where`, as a value."""
        found: Position
        if isinstance(item, Container):
            found = self.positions.find(f"container {item.vmid} {item.name}", path)
        elif isinstance(item, Site):
            found = self.positions.find("site", path)
        elif isinstance(item, Flow):
            number = next((n for n, flow in enumerate(self.flows) if flow is item), 0)
            found = self.positions.find("zones", f"flows.{number}.{path}" if path else f"flows.{number}")
        else:
            found = self.positions.find(item, path)
        return found
