"""What is in a container: resources, volumes, NICs, and services with their ports, needs and checks. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.component_model import Component
from zentoria_infra.inventory.values import (
    NAMED,
    Address,
    Line,
    Mac,
    Model,
    Name,
    Named,
    PortKind,
    PortNumber,
    PortRange,
    PublicAddress,
    Target,
    Text,
    Vmid,
    matching,
)
from zentoria_infra.inventory.values import (
    Protocol as TransportProtocol,
)
from zentoria_infra.inventory.weights_model import ServedModels
from zentoria_infra.inventory.wish_model import BucketName, DatabaseWish, KeyPattern, Route, UrlPath

AbsolutePath = Annotated[str, matching(r"^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$", "an absolute path")]
SecretPath = Annotated[str, matching(r"^zentoria(/[a-z0-9_-]+)+$", "a secret path as zentoria/db/password")]
PolicyPath = Annotated[str, matching(r"^[a-z0-9_-]+(/[a-z0-9_+*-]+)+$", "a Vault path as zentoria/db/*")]
UnitName = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.(service|socket|target|timer|path)$", "a systemd unit as nginx.service"
    ),
]
UserName = Annotated[str, matching(r"^[a-z_][a-z0-9_-]{0,31}$", "a user's name as postgres")]
"""What Debian's adduser takes, and ``_apt``."""
SettingName = Annotated[str, matching(r"^[a-z][a-z0-9_]{0,60}$", "the name of a setting as workers or limit_user")]
Tag = Annotated[str, matching(r"^[a-z0-9_][a-z0-9_+.-]*$", "a Proxmox tag in lower case")]
"""Proxmox's ``pve-tag`` in lower case."""


def _setting(value: object) -> object:
    texts = value if isinstance(value, (list, tuple)) else (value,) if isinstance(value, str) else ()
    if not isinstance(value, (bool, int, float, str, list, tuple)) or not all(
        isinstance(one, str) and one.isprintable() for one in texts
    ):
        raise PydanticCustomError(
            "rule_setting", "a setting is a number, a text of one line, true, false, or a list of texts"
        )
    return tuple(value) if isinstance(value, list) else value


SettingValue = Annotated[
    Any,
    BeforeValidator(_setting),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["boolean", "number", "string"]},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]


class _Settings(dict[str, Any]):
    """Settings by name. A part of the inventory, and so hashable: nobody changes it."""

    def __hash__(self) -> int:  # type: ignore[override] # that of a dict is None
        return hash(frozenset(self.items()))


MOST_MEMORY = 16 * 1024 * 1024
"""MiB: more than any machine has; a slip of a key is not passed on."""
MOST_DISK = 128 * 1024
"""GiB, likewise."""
LONGEST = 86_400
"""Seconds: a day."""


class Resources(Model):
    """What a container may use."""

    cores: Annotated[int, Field(ge=1, le=8192)] = 1
    memory: Annotated[int, Field(ge=16, le=MOST_MEMORY)] = 512
    """MiB."""
    swap: Annotated[int, Field(ge=0, le=MOST_MEMORY)] = 0
    """MiB."""
    rootfs: Annotated[int, Field(ge=1, le=MOST_DISK)] = 8
    """GiB."""
    cpulimit: Annotated[float, Field(gt=0, le=8192)] | None = None
    """CPUs, as 0.5; None: no limit besides ``cores``."""


class Maximum(Model):
    """The most that a container may be given (architecture: vertical scaling limits)."""

    cores: Annotated[int, Field(ge=1, le=8192)]
    memory: Annotated[int, Field(ge=16, le=MOST_MEMORY)]
    """MiB."""


class Volume(Model):
    """A data volume of its own. It outlives its container's root file system."""

    name: Name
    path: AbsolutePath
    size: Annotated[int, Field(ge=1, le=MOST_DISK)]
    """GiB."""
    backup: bool = True
    owner: UserName = "root"
    """User in the guest that owns the mount point."""


class Features(Model):
    """Features of LXC. systemd in an unprivileged guest needs ``nesting``; Docker in one needs ``keyctl`` too."""

    nesting: bool = True
    keyctl: bool = False


class Startup(Model):
    """Proxmox's start order when the node boots. ``up`` and ``down`` are seconds."""

    order: Annotated[int, Field(ge=0, le=1_000_000)]
    up: Annotated[int, Field(ge=0, le=LONGEST)] | None = None
    down: Annotated[int, Field(ge=0, le=LONGEST)] | None = None


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
    metrics: UrlPath | None = None
    """Where Prometheus finds metrics; default: ``/metrics`` on a port of that kind."""
    routes: tuple[Route, ...] = ()
    """Paths at the proxy that lead here."""

    @model_validator(mode="after")
    def _has_metrics(self) -> Port:
        if self.metrics is not None and "metrics" not in self.kinds:
            raise PydanticCustomError("rule_no_metrics", "'metrics' is a path: say 'also: [metrics]' beside it")
        return self

    @property
    def kinds(self) -> frozenset[PortKind]:
        """Everything that is asked on it."""
        return frozenset((self.kind, *self.also))

    @property
    def metrics_path(self) -> str | None:
        """Where metrics are; None on a port without."""
        return (self.metrics or "/metrics") if "metrics" in self.kinds else None


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
    purpose: Line = ""
    database: DatabaseWish | None = None
    """Of a database server: which database."""
    keys: tuple[KeyPattern, ...] = ()
    """Of Redis: keys besides those that begin with the container's name and a colon."""
    buckets: tuple[BucketName, ...] = ()
    """Of an object storage: which buckets; it may do everything with what is in them."""
    access: Literal["use", "read"] = "use"
    """``read``: it copies all that is there and changes nothing, as a backup does."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"service": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> Need:
        if "ports" in self.model_fields_set and not self.ports:
            raise PydanticCustomError("rule_no_ports", "'ports' is empty: leave it out where all are meant")
        if self.ports and self.exposes:
            raise PydanticCustomError("rule_need_ports", "a need has 'ports' or 'exposes', and not both")
        if self.access == "read" and (self.database or self.keys or self.buckets):
            text = "'access: read' reads all: leave 'database', 'keys' and 'buckets' out"
            raise PydanticCustomError("rule_need_read", text)
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
    """Leave to reach what is outside, which nothing has by default.

    ``to`` are names, addresses and networks. A name, and ``any``, mean every public address: the firewall knows no
    names. Private networks, as the home's, are reached only by an address or a network that is written here, as
    ``192.168.1.0/24``; such a network never means what is ours in it: containers, the node, gateways.
    """

    to: Annotated[tuple[Target, ...], Field(min_length=1)]
    ports: Annotated[tuple[PortRange, ...], Field(min_length=1)]
    protocol: TransportProtocol = "tcp"
    purpose: Text


class Health(Model):
    """A check from inside the guest: a TCP port that accepts, or with ``path`` a URL that answers 200."""

    port: PortNumber
    path: Annotated[str, matching(r"^/[!-~]*$", "a path that begins with '/'")] | None = None
    scheme: Literal["http", "https"] = "http"
    timeout: Annotated[int, Field(ge=1, le=3600)] = 30
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
    installed: bool = True
    """False: it is left out, as if no role built its component; its flows, database and secrets stay."""
    unit: UnitName | None = None
    """systemd unit; None: it has none of its own."""
    exposes: Annotated[tuple[Port, ...], Named, Field(json_schema_extra=NAMED)] = ()
    needs: tuple[Need, ...] = ()
    trusts: tuple[Name, ...] = ()
    """Containers whose word it takes for the address of the client that they serve (``X-Forwarded-For``)."""
    settings: Annotated[dict[SettingName, SettingValue], AfterValidator(_Settings)] = Field(default_factory=_Settings)
    """Of one of our own services, what it is to do otherwise than by default: ``workers: 2`` becomes
    ``ZENTORIA_WORKERS=2``. Its README section says which it has."""
    secrets: tuple[SecretPath, ...] = ()
    vault_policy: tuple[PolicyRule, ...] = ()
    egress: tuple[Egress, ...] = ()
    health: Health | None = None
    models: ServedModels = ()
    """What it serves: names of the site's ``models`` by what they are for, as ``{chat: llama3.2-8k}``."""
    models_folder: AbsolutePath | None = None
    """Where files of its models are, each model's in a folder of its name."""

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
    hostname: Annotated[
        str,
        matching(
            r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", "a host name in lower case"
        ),
        Field(max_length=253),
    ]
    """With or without its domain (Proxmox's format ``dns-name``). Default: ``zentoria-<name>``."""
    purpose: Line = ""
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
    def short_hostname(self) -> str:
        """The host name without a domain: what the machine calls itself."""
        return self.hostname.partition(".")[0]

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
