"""One site: the Proxmox node, its storages and bridges, names, time, packages, certificate, overrides."""

from __future__ import annotations

import base64
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.component_model import Component, HttpsUrl, Section, Suite, Url
from zentoria_infra.inventory.sign_in_model import Origin, SignIn
from zentoria_infra.inventory.values import Address, Cidr, FilePath, HostName, Model, PortNumber, Text, matching
from zentoria_infra.inventory.weights_model import ModelName, ServedModel

Fingerprint = Annotated[
    str,
    matching(
        r"^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$",
        "a SHA-256 fingerprint (32 bytes in hexadecimal, with colons)",
        to_upper=True,
    ),
]
"""SHA-256 of the node's certificate, as Proxmox prints it: 32 bytes in hexadecimal, with colons."""

TokenId = Annotated[
    str,
    matching(r"^[\"-.0-9;-?A-~]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+$", "a token id as user@realm!name"),
]
"""``user@realm!name``."""

_KEY_KINDS = "ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|ecdsa-sha2-nistp384|ecdsa-sha2-nistp521"
_USER_KEY_KINDS = f"{_KEY_KINDS}|sk-ssh-ed25519@openssh.com|sk-ecdsa-sha2-nistp256@openssh.com"
_COMMENT = r"( [^\x00-\x1f\x7f]*)?"


def _public_key(text: str) -> str:
    """RFC 4253, 6.6: what is encoded begins with the name of the kind."""
    kind, *rest = text.split(" ")
    if rest:
        try:
            blob = base64.b64decode(rest[0], validate=True)
        except ValueError:
            blob = b""
        if not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
            raise PydanticCustomError("public_key", "It is no public key")
    return text


def _time_zone(text: str) -> str:
    """One that Debian's ``tzdata`` has: names that the IANA database keeps for the past are in a package of their own.

    Where this machine has no time zones, the name's area is all that is looked at.
    """
    known = zoneinfo.available_timezones()
    if text != "UTC" and (text.partition("/")[0] not in _AREAS or (known and text not in known)):
        raise PydanticCustomError("time_zone", "It is no time zone")
    return text


_AREAS = frozenset(
    ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Etc", "Europe", "Indian", "Pacific")
)

SiteId = Annotated[str, matching(r"^[a-z0-9][a-z0-9-]{0,30}$", "a short id (a-z, 0-9 and '-')")]
NodeName = Annotated[str, matching(r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", "the name of a Proxmox node")]
StorageId = Annotated[str, matching(r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", "the id of a Proxmox storage")]
PoolId = Annotated[
    str,
    matching(
        r"^[A-Za-z][A-Za-z0-9._-]*(/[A-Za-z][A-Za-z0-9._-]*){0,2}$",
        "the name of a pool as zentoria or home/zentoria (a letter first in each of at most three levels)",
    ),
]
"""PVE::AccessControl::verify_poolname; that a letter comes first, Proxmox VE 9 asks for."""
BridgeName = Annotated[str, matching(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{1,14}$", "the name of a bridge as vmbr40 or br-lan")]
"""Proxmox takes ``[-_.\\w\\d]+`` for the bridge of a NIC (schema of net[n]); the kernel takes 15 characters at most."""
TimeZone = Annotated[
    str,
    matching(r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "a time zone as Europe/Vienna"),
    AfterValidator(_time_zone),
]
Size = Annotated[str, matching(r"^[1-9][0-9]{0,6}[kMG]$", "a size as 100M")]
Domain = Annotated[
    str,
    matching(
        r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "a domain name in lower case"
    ),
    Field(max_length=200),
]

_FACTORS = {"k": 1024, "M": 1024**2, "G": 1024**3}


class SshSite(Model):
    """How ``pct`` is reached: SSH to the node, host key pinned."""

    host: HostName | None = None
    """None: the API's host."""
    port: PortNumber = 22
    user: Text = "root"
    host_key: (
        Annotated[
            str,
            matching(
                rf"^(({_KEY_KINDS}) [A-Za-z0-9+/=]+{_COMMENT}|SHA256:[A-Za-z0-9+/]{{43}})$",
                "a public host key as 'ssh-ed25519 AAAA...', or its fingerprint as 'SHA256:...'",
            ),
            AfterValidator(_public_key),
        ]
        | None
    ) = None
    """Public host key as in known_hosts, without the host: ``ssh-ed25519 AAAA...``; or ``SHA256:...`` of it."""
    key_file: FilePath | None = None
    """Private key; mode 0600. None: ``~/.config/zentoria/<id>/ssh_key``, which ``zentoria bootstrap`` makes."""
    inside: bool = True
    """Whether commands can be run inside containers. A lab without guests has ``pct``, but nothing inside."""


class ProxmoxSite(Model):
    """The API of the node or cluster. TLS is verified by ``ca_file`` or ``fingerprint``, else by the system's CAs."""

    host: HostName
    port: PortNumber = 8006
    node: NodeName
    """Node on which containers are made, unless ``nodes`` says otherwise."""
    nodes: dict[str, NodeName] = Field(default_factory=dict)
    """Placement: container name or VMID (as text) to node."""
    pool: PoolId = "zentoria"
    ca_file: FilePath | None = None
    fingerprint: Fingerprint | None = None
    token_id: TokenId = "zentoria@pve!up"  # noqa: S105 - the token's public name, not its secret
    token_secret_file: FilePath | None = None
    """File (0600) with the token's secret; None: ``~/.config/zentoria/<id>/token``. ZENTORIA_PVE_TOKEN wins."""
    ssh: SshSite = SshSite()
    connect_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Seconds."""
    read_timeout: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Seconds."""


class Storages(Model):
    """Proxmox storages for root file systems and for data volumes."""

    rootfs: StorageId
    volumes: StorageId


class Bridges(Model):
    """Bridges on the node: the internal network's, and the one of a public second NIC."""

    internal: BridgeName = "vmbr40"
    public: BridgeName = "vmbr0"


class Dns(Model):
    """Name servers of the guests, and the domain that their names are in."""

    nameservers: tuple[Address, ...]
    search_domain: Domain = "zentoria.internal"


class DebSource(Model):
    """One deb822 entry of ``/etc/apt/sources.list.d``."""

    types: tuple[Literal["deb", "deb-src"], ...] = ("deb",)
    uris: Annotated[tuple[Url, ...], Field(min_length=1)]
    suites: Annotated[tuple[Suite, ...], Field(min_length=1)]
    components: tuple[Section, ...] = ("main",)
    signed_by: Text | None = None
    """Path of a key ring in the guest; None: Debian's own."""


class Certificate(Model):
    """The proxy's certificate. ``names`` besides the public host name, in its subjectAltName."""

    mode: Literal["site-ca", "supplied", "acme"] = "site-ca"
    certificate_file: FilePath | None = None
    """Supplied: PEM chain, the server's certificate first."""
    key_file: FilePath | None = None
    """Supplied: PEM private key, not encrypted, 0600."""
    email: (
        Annotated[
            str, matching(r"^[A-Za-z0-9][!#-'*+/-9=?A-Z^_a-z{|}~.-]*@[A-Za-z0-9][A-Za-z0-9.-]*$", "an e-mail address")
        ]
        | None
    ) = None
    """ACME: the account's address."""
    directory: HttpsUrl | None = None
    """ACME: the directory URL (RFC 8555); None: Let's Encrypt."""
    names: tuple[HostName, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Certificate:
        if self.mode == "supplied" and not (self.certificate_file and self.key_file):
            raise PydanticCustomError("rule_supplied", "mode 'supplied' needs 'certificate_file' and 'key_file'")
        if self.mode == "acme" and not self.email:
            raise PydanticCustomError("rule_acme", "mode 'acme' needs 'email'")
        return self


class FirewallSite(Model):
    """How the site's firewall is laid out in Proxmox."""

    objects: Literal["datacenter", "guest"] = "datacenter"
    """Where aliases and groups live. ``datacenter`` needs Sys.Modify on ``/``; ``guest`` keeps everything in each
    guest's own file (pool rights are enough), and then an admin must have turned the datacenter's switch on."""
    management: tuple[Cidr, ...] = ()
    """Admins' networks, which join the IP set ``management`` before the datacenter's switch is turned on. The
    address from which Zentoria reaches the node joins by itself."""
    node_addresses: tuple[Address, ...] = ()
    """The node's own addresses; none: ``proxmox.host`` when it is an address. Where that is a name, a public address
    of the node must be said here: else it counts as the internet's. Private ones never do."""
    log: Literal["nolog", "err", "warning", "notice", "info", "debug"] = "nolog"
    """Log level of what is denied."""


class Parallel(Model):
    """How much is done at once."""

    creates: Annotated[int, Field(ge=1, le=64)] = 4
    """Creates on one storage. Proxmox's pvedaemon has three workers."""


class Limits(Model):
    """What one run may do to the stack unasked; more needs ``--allow``."""

    restarts: Annotated[int, Field(ge=1, le=100)] = 30
    """Percent of the containers that one run may restart. A single one is always within it."""


class Site(Model):
    """Everything that differs from one installation to the next. Relative ``*_file`` paths belong to their file."""

    name: Text
    id: SiteId
    """Short and stable: it is in the ownership mark of every object made."""
    proxmox: ProxmoxSite
    storages: Storages
    template: Annotated[str, matching(r"^[^\s:]+:vztmpl/[^\s/]+$", "a template's volume id as local:vztmpl/NAME")]
    """Volume id of the template, as ``local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst``."""
    bridges: Bridges = Bridges()
    gateway: Address | None = None
    """Gateway of the internal network; None: the one in zones.yaml."""
    dns: Dns
    time_zone: TimeZone = "Etc/UTC"
    proxy: Url | None = None
    """HTTP proxy for package installs in guests."""
    package_sources: Literal["template"] | tuple[DebSource, ...] = "template"
    """``template`` keeps what the template has."""
    components: dict[str, Component] = Field(default_factory=dict)
    """Source of components by name; it wins over the one in a service."""
    models: dict[ModelName, ServedModel] = Field(default_factory=dict)
    """Models that services may serve, by name. Which of them they do serve stands at the service."""
    admin_ssh_keys: tuple[
        Annotated[
            str,
            matching(rf"^({_USER_KEY_KINDS}) [A-Za-z0-9+/=]+{_COMMENT}$", "a public key as 'ssh-ed25519 AAAA...'"),
            AfterValidator(_public_key),
        ],
        ...,
    ] = ()
    """Public keys; without one, guests run no SSH."""
    upload_max: Size = "100M"
    """The one limit of an upload, wherever it is enforced."""
    public_name: HostName
    """Host name under which users reach the proxy."""
    public_port: PortNumber = 443
    """Port of that name; another one where something forwards it, as the lab does."""
    certificate: Certificate = Certificate()
    cors_origins: tuple[Origin, ...] = ()
    """Whose pages may read answers of the API, beside the site's own."""
    sign_in: SignIn = SignIn()
    parallel: Parallel = Parallel()
    limits: Limits = Limits()
    firewall: FirewallSite = FirewallSite()
    secrets_file: FilePath | None = None
    """None: ``~/.config/zentoria/<id>/secrets.json``. Never inside the project."""
    container_defaults: dict[str, Any] = Field(default_factory=dict)
    """Part of every container file, written once. A container file wins over it."""
    every_container: dict[str, Any] = Field(default_factory=dict)
    """Laid on every container's file: it wins over the file, and ``containers`` wins over it."""
    containers: dict[str, Any] = Field(default_factory=dict)
    """Overrides by container name, in the shape of a container file."""

    @property
    def upload_max_bytes(self) -> int:
        """``upload_max`` in bytes (k, M, G are powers of 1024, as NGINX reads them)."""
        return int(self.upload_max[:-1]) * _FACTORS[self.upload_max[-1]]

    @property
    def public_url(self) -> str:
        """URL of the proxy as users type it, without a slash at the end."""
        port = "" if self.public_port == 443 else f":{self.public_port}"
        return f"https://{self.public_name}{port}"

    @property
    def secrets_path(self) -> Path:
        """File of generated passwords (0600, outside the project)."""
        return self.secrets_file or Path.home() / ".config" / "zentoria" / self.id / "secrets.json"

    @property
    def ssh_host(self) -> str:
        """Host of the node's SSH service."""
        return self.proxmox.ssh.host or self.proxmox.host
