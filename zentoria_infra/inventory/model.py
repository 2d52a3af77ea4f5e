"""The inventory: containers, what is in them, and the whole that ``load`` makes. All of it is frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

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
from zentoria_infra.inventory.network_model import ALL, INTERNET, Flow, Network, Zone, Zones
from zentoria_infra.inventory.order import start_order
from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.site_model import DebSource, ProxmoxSite, Site, SshSite
from zentoria_infra.inventory.values import (
    NAMED,
    Address,
    HostName,
    Mac,
    Model,
    Name,
    Named,
    PortKind,
    PortNumber,
    PortRange,
    PublicAddress,
    Text,
    Vmid,
    matching,
)
from zentoria_infra.inventory.values import (
    Protocol as TransportProtocol,
)

__all__ = [
    "ALL", "INTERNET", "AptComponent", "AptRepository", "Assertion", "Component", "Container", "DebSource", "Egress",
    "Features", "Flow", "Health", "Inventory", "Maximum", "Need", "Network", "NpmComponent", "PolicyRule", "Port",
    "PortRange", "ProxmoxSite", "PublicNic", "PypiComponent", "Resources", "Service", "Site", "SshSite", "Startup",
    "UrlComponent", "Volume", "WorkspaceComponent", "Zone", "Zones",
]  # fmt: skip

_Found = TypeVar("_Found")

AbsolutePath = Annotated[str, matching(r"^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$", "an absolute path")]
SecretPath = Annotated[str, matching(r"^zentoria(/[a-z0-9_-]+)+$", "a secret path as zentoria/db/password")]
PolicyPath = Annotated[str, matching(r"^[a-z0-9_-]+(/[a-z0-9_+*-]+)+$", "a Vault path as zentoria/db/*")]
UnitName = Annotated[
    str, matching(r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|path)$", "a systemd unit as nginx.service")
]
Tag = Annotated[str, matching(r"^[a-z0-9_][a-z0-9_+.-]*$", "a Proxmox tag in lower case")]
"""Proxmox's ``pve-tag`` in lower case."""


class Resources(Model):
    """What a container may use."""

    cores: Annotated[int, Field(ge=1, le=8192)] = 1
    memory: Annotated[int, Field(ge=16)] = 512
    """MiB."""
    swap: Annotated[int, Field(ge=0)] = 0
    """MiB."""
    rootfs: Annotated[int, Field(ge=1)] = 8
    """GiB."""
    cpulimit: Annotated[float, Field(gt=0, le=8192)] | None = None
    """CPUs, as 0.5; None: no limit besides ``cores``."""


class Maximum(Model):
    """The most that a container may be given (architecture: vertical scaling limits)."""

    cores: Annotated[int, Field(ge=1)]
    memory: Annotated[int, Field(ge=16)]
    """MiB."""


class Volume(Model):
    """A data volume of its own. It outlives its container's root file system."""

    name: Name
    path: AbsolutePath
    size: Annotated[int, Field(ge=1)]
    """GiB."""
    backup: bool = True
    owner: Text = "root"
    """User in the guest that owns the mount point."""


class Features(Model):
    """Features of LXC. systemd in an unprivileged guest needs ``nesting``; Docker in one needs ``keyctl`` too."""

    nesting: bool = True
    keyctl: bool = False


class Startup(Model):
    """Proxmox's start order when the node boots. ``up`` and ``down`` are seconds."""

    order: Annotated[int, Field(ge=0)]
    up: Annotated[int, Field(ge=0)] | None = None
    down: Annotated[int, Field(ge=0)] | None = None


class PublicNic(Model):
    """A second NIC on the public bridge. ``address`` is ``dhcp`` or an address with prefix, as 192.0.2.7/24."""

    address: PublicAddress
    gateway: Address | None = None
    mac: Mac | None = None
    """None: pinned like the first NIC's, from the VMID."""


class Port(Model):
    """A port on which a service listens. ``also``: what else is asked on it (``/metrics`` on an API's port)."""

    name: Name
    port: PortRange
    protocol: TransportProtocol = "tcp"
    kind: PortKind
    also: tuple[PortKind, ...] = ()

    @property
    def kinds(self) -> frozenset[PortKind]:
        """Everything that is asked on it."""
        return frozenset((self.kind, *self.also))


class Need(Model):
    """Something that a service calls. YAML: ``db.pgbouncer``, or a mapping with more.

    ``service`` is ``container.service``, ``container`` or ``all``. Without ``ports`` and ``exposes``, all ports
    of the target but those that are only metrics are needed. ``start: false`` is a need at run time, which does
    not order the start (and so may be mutual).
    """

    service: Annotated[
        str, matching(r"^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)?$", "a container or container.service as db.pgbouncer")
    ]
    ports: tuple[PortRange, ...] = ()
    exposes: tuple[PortKind, ...] = ()
    start: bool = True
    purpose: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"service": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> Need:
        if self.ports and self.exposes:
            raise PydanticCustomError("rule_need_ports", "a need has 'ports' or 'exposes', and not both")
        return self

    @property
    def container(self) -> str:
        """Name of the container that is needed, or ``all``."""
        return self.service.partition(".")[0]

    @property
    def service_name(self) -> str:
        """Name of the service in that container; empty when any of them is meant."""
        return self.service.partition(".")[2]


class Egress(Model):
    """Leave to reach the internet, which nothing has by default. ``to`` are names; ``any`` is any host."""

    to: tuple[HostName, ...]
    ports: tuple[PortRange, ...]
    protocol: TransportProtocol = "tcp"
    purpose: Text


class Health(Model):
    """A check from inside the guest: a TCP port that accepts, or with ``path`` a URL that answers 200."""

    port: PortNumber
    path: Annotated[str, matching(r"^/\S*$", "a path that begins with '/'")] | None = None
    scheme: Literal["http", "https"] = "http"
    timeout: Annotated[int, Field(ge=1)] = 30
    """Seconds."""


class PolicyRule(Model):
    """One path of a Vault policy."""

    path: PolicyPath
    capabilities: tuple[Literal["create", "read", "update", "patch", "delete", "list", "deny"], ...]


class Service(Model):
    """A service in a container."""

    name: Name
    component: Name
    """Which role builds it; also the key of its source in the site's ``components``."""
    source: Component | None = None
    unit: UnitName | None = None
    """systemd unit; None: it has none of its own."""
    exposes: Annotated[tuple[Port, ...], Named, Field(json_schema_extra=NAMED)] = ()
    needs: tuple[Need, ...] = ()
    secrets: tuple[SecretPath, ...] = ()
    vault_policy: tuple[PolicyRule, ...] = ()
    egress: tuple[Egress, ...] = ()
    health: Health | None = None

    def port(self, name: str) -> PortRange:
        """The port of that name. Raises KeyError."""
        for port in self.exposes:
            if port.name == name:
                return port.port
        raise KeyError(name)


def pinned_mac(vmid: int, nic: int = 0) -> str:
    """The hardware address of a container's NIC: BC:24:11 (Proxmox's own prefix), then the VMID's decimal digits.

    A second NIC has the locally administered prefix BE:24:11.
    """
    digits = f"{vmid % 1_000_000:06d}"
    return f"{'BE' if nic else 'BC'}:24:11:{digits[:2]}:{digits[2:4]}:{digits[4:]}"


class Container(Model):
    """One container, as its file, the site's defaults and the site's overrides make it together."""

    vmid: Vmid
    name: Name
    hostname: Annotated[str, matching(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "a host name in lower case")]
    """Default: ``zentoria-<name>``."""
    purpose: str = ""
    zone: Name
    network: Name = "internal"
    address: Address
    mac: Mac
    """Default: made of the VMID, see :func:`pinned_mac`."""
    resources: Resources
    maximum: Maximum | None = None
    volumes: Annotated[tuple[Volume, ...], Named, Field(json_schema_extra=NAMED)] = ()
    features: Features = Features()
    unprivileged: bool = True
    startup: Startup
    onboot: bool = True
    tags: tuple[Tag, ...] = ()
    protect: bool = False
    """Refuse to destroy or replace it."""
    reserved: bool = False
    """Claims a reserved VMID."""
    public: PublicNic | None = None
    egress: tuple[Egress, ...] = ()
    services: Annotated[tuple[Service, ...], Named, Field(json_schema_extra=NAMED)] = ()

    @model_validator(mode="before")
    @classmethod
    def _derived(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        filled: dict[Any, Any] = dict(value)
        vmid, name = filled.get("vmid"), filled.get("name")
        if isinstance(vmid, int) and filled.get("mac") is None:
            filled["mac"] = pinned_mac(vmid)
        if isinstance(name, str) and filled.get("hostname") is None:
            filled["hostname"] = f"zentoria-{name}"
        return filled

    @property
    def public_mac(self) -> str | None:
        """Hardware address of the public NIC; None without one."""
        return (self.public.mac or pinned_mac(self.vmid, 1)) if self.public else None

    def service(self, name: str) -> Service:
        """The service of that name. Raises KeyError."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def volume(self, name: str) -> Volume:
        """The volume of that name. Raises KeyError."""
        for volume in self.volumes:
            if volume.name == name:
                return volume
        raise KeyError(name)


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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

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
            for key in (one.vmid, one.name, one.hostname, str(one.vmid)):
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
