"""Every endpoint of the Proxmox API that Zentoria calls, and what the server asks for it.

:class:`~zentoria_infra.proxmox.connection.Connection` sends nothing that is not in this table. From it come the
privileges that ``zentoria bootstrap`` gives, and the faults that are tried on each endpoint.

The rights are those of the official schema (``permissions``) and those that were measured on Proxmox VE 8.4, one
privilege taken away at a time: the schema says "all users" where the server's code checks more.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

from zentoria_infra.plan.privileges import Need


class Used(enum.Enum):
    """When an endpoint is called."""

    ALWAYS = enum.auto()
    """On every site, by the token of the site."""
    DATACENTER = enum.auto()
    """By the token of the site, with ``firewall.objects: datacenter``."""
    ADMIN = enum.auto()
    """By ``zentoria bootstrap``, as an administrator."""
    NEVER = enum.auto()
    """The client can, and no command does."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One endpoint.

    Args:
        verb: GET, POST, PUT or DELETE.
        template: path below ``/api2/json`` with ``{names}``, exactly as it is given to ``Connection.call``.
        purpose: what for.
        needs: what it fails without. A right on ``/vms/{vmid}`` may come from the guest's pool.
        shows: what its answer is shorter without; it does not fail.
        task: whether the answer is a UPID, and the work is done after it.
        repeatable: whether twice does what once does, so that it is sent again after a lost answer. What is not is
            sent again only when it certainly was not carried out, or after a look at what is there.
        used: when it is called.
    """

    verb: str
    template: str
    purpose: str
    needs: tuple[Need, ...] = ()
    shows: tuple[Need, ...] = ()
    task: bool = False
    repeatable: bool = True
    used: Used = Used.ALWAYS


class UnknownEndpointError(LookupError):
    """The program calls an endpoint that is not in the table: a mistake in the program."""


def _on(path: str, *privileges: str) -> tuple[Need, ...]:
    return tuple(Need(path, privilege) for privilege in privileges)


_GUEST = "/nodes/{node}/lxc/{vmid}"
_AUDIT = _on("/vms/{vmid}", "VM.Audit")
_POWER = _on("/vms/{vmid}", "VM.PowerMgmt")
_SPACE = _on("/storage/{storage}", "Datastore.AllocateSpace")
_BRIDGE = _on("/sdn/zones/{zone}/{bridge}", "SDN.Use")
_CONFIG = _on(
    "/vms/{vmid}",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
)
_POOL_ADMIN = _on("/pool/{poolid}", "Pool.Allocate")


def _reading() -> Iterator[ApiCall]:
    """What a plan and a status read."""
    yield ApiCall("GET", "/version", "release of the server; is it there")
    yield ApiCall("GET", "/access/permissions", "what we may do")
    yield ApiCall("GET", "/nodes", "names of the nodes", used=Used.NEVER)
    yield ApiCall("GET", "/cluster/resources", "guests of the cluster", shows=_AUDIT)
    yield ApiCall("GET", "/cluster/nextid", "whether a VMID is free")
    yield ApiCall("GET", "/pools", "whether the pool is there, its members", shows=_on("/pool/{poolid}", "Pool.Audit"))
    node = _on("/nodes/{node}", "Sys.Audit")
    yield ApiCall("GET", "/nodes/{node}/status", "processors and load of a node", node)
    yield ApiCall("GET", "/nodes/{node}/services/{service}/state", "whether the firewall's daemon runs", node)
    yield ApiCall("GET", "/nodes/{node}/storage", "storages and free space", shows=_SPACE)
    template = _on("/storage/{template}", "Datastore.Audit")
    content = "whether the template is there, and which volumes have a container's number"
    volumes = _on("/storage/{storage}", "Datastore.Audit")  # volumes of guests: PVE::Storage::check_volume_access
    yield ApiCall("GET", "/nodes/{node}/storage/{storage}/content", content, template, shows=volumes)
    yield ApiCall("GET", "/nodes/{node}/network", "bridges", shows=_BRIDGE)
    yield ApiCall("GET", "/nodes/{node}/tasks", "whether a task is at work on a container", shows=node)
    yield ApiCall("GET", "/nodes/{node}/tasks/{upid}/status", "how a task of ours goes on")
    yield ApiCall("GET", "/nodes/{node}/tasks/{upid}/log", "what a task of ours says")
    yield ApiCall("GET", "/nodes/{node}/lxc", "containers of a node, as they are now", shows=_AUDIT)
    yield ApiCall("GET", _GUEST + "/config", "a container's configuration", _AUDIT)
    yield ApiCall("GET", _GUEST + "/pending", "a container's configuration and what waits for a restart", _AUDIT)
    yield ApiCall("GET", _GUEST + "/status/current", "whether a container runs", _AUDIT)
    yield ApiCall("GET", _GUEST + "/feature", "whether a container can be snapshotted", _AUDIT)
    yield ApiCall("GET", _GUEST + "/snapshot", "snapshots of a container", _AUDIT)


def _guests() -> Iterator[ApiCall]:
    """The life of a container."""
    make = (*_on("/vms/{vmid}", "VM.Allocate"), *_CONFIG, *_SPACE, *_BRIDGE)
    make += _on("/storage/{template}", "Datastore.Audit")
    change = (*_CONFIG, *_SPACE, *_BRIDGE)
    grow = (*_on("/vms/{vmid}", "VM.Config.Disk", "VM.Config.Options"), *_SPACE)
    yield ApiCall("POST", "/nodes/{node}/lxc", "create a container", make, task=True, repeatable=False)
    yield ApiCall("PUT", _GUEST + "/config", "change a container", change, repeatable=False)
    yield ApiCall("PUT", _GUEST + "/resize", "grow a volume", grow, task=True, repeatable=False)
    move = (*_on("/vms/{vmid}", "VM.Config.Disk"), *_SPACE)
    over = "move a volume to another container"
    yield ApiCall("POST", _GUEST + "/move_volume", over, move, task=True, repeatable=False)
    for action in ("start", "stop", "shutdown", "reboot"):
        path = f"{_GUEST}/status/{action}"
        yield ApiCall("POST", path, f"{action} a container", _POWER, task=True, repeatable=False)
    yield from _snapshots()
    gone = _on("/vms/{vmid}", "VM.Allocate")
    yield ApiCall("DELETE", _GUEST, "destroy a container", gone, task=True, repeatable=False)


def _snapshots() -> Iterator[ApiCall]:
    """Ways back of a container."""
    take, back = _on("/vms/{vmid}", "VM.Snapshot"), _on("/vms/{vmid}", "VM.Snapshot.Rollback")
    one = _GUEST + "/snapshot/{snapname}"
    yield ApiCall("POST", _GUEST + "/snapshot", "snapshot a container", take, task=True, repeatable=False)
    yield ApiCall("POST", one + "/rollback", "go back to a snapshot", back, task=True, repeatable=False)
    yield ApiCall("DELETE", one, "remove a snapshot", take, task=True, repeatable=False)


def _firewall(base: str, read: tuple[Need, ...], write: tuple[Need, ...], used: Used, whose: str) -> Iterator[ApiCall]:
    """Options, rules, aliases and IP sets of one firewall."""

    def one(verb: str, path: str, what: str, *, repeatable: bool = True) -> ApiCall:
        return ApiCall(verb, base + path, f"{what} of {whose}", write, repeatable=repeatable, used=used)

    for path, what in (
        ("/options", "options"),
        ("/rules", "rules"),
        ("/aliases", "aliases"),
        ("/ipset", "IP sets"),
        ("/ipset/{ipset}", "members of an IP set"),
    ):
        yield ApiCall("GET", base + path, f"read {what} of {whose}", read, used=used)
    yield one("PUT", "/options", "set options")
    yield one("POST", "/rules", "make a rule", repeatable=False)
    yield one("PUT", "/rules/{pos}", "change or move a rule", repeatable=False)
    yield one("DELETE", "/rules/{pos}", "remove a rule", repeatable=False)
    yield one("POST", "/aliases", "make an alias")
    yield one("PUT", "/aliases/{alias}", "change an alias")
    yield one("DELETE", "/aliases/{alias}", "remove an alias")
    yield one("POST", "/ipset", "make an IP set")
    yield one("DELETE", "/ipset/{ipset}", "remove an IP set")
    yield one("POST", "/ipset/{ipset}", "add a member to an IP set")
    yield one("PUT", "/ipset/{ipset}/{cidr}", "change a member of an IP set")
    yield one("DELETE", "/ipset/{ipset}/{cidr}", "take a member out of an IP set")


def _datacenter() -> Iterator[ApiCall]:
    """The datacenter's firewall. Its switch is looked at on every site."""
    base, read, write = "/cluster/firewall", _on("/", "Sys.Audit"), _on("/", "Sys.Modify")
    for call in _firewall(base, read, write, Used.DATACENTER, "the datacenter's firewall"):
        if (call.verb, call.template) == ("GET", base + "/options"):
            yield ApiCall("GET", call.template, "whether the datacenter's firewall is on", read)
        else:
            yield call
    group = base + "/groups/{group}"
    yield ApiCall("GET", base + "/groups", "security groups", used=Used.DATACENTER)
    yield ApiCall("POST", base + "/groups", "make a security group", write, used=Used.DATACENTER)
    yield ApiCall("GET", group, "rules of a security group", read, used=Used.DATACENTER)
    yield ApiCall("DELETE", group, "remove a security group", write, used=Used.DATACENTER)
    for verb, path, what in (
        ("POST", group, "make a rule"),
        ("PUT", group + "/{pos}", "change or move a rule"),
        ("DELETE", group + "/{pos}", "remove a rule"),
    ):
        purpose = f"{what} of a security group"
        yield ApiCall(verb, path, purpose, write, repeatable=False, used=Used.DATACENTER)


def _hosts() -> Iterator[ApiCall]:
    """The firewall of a node itself, which Zentoria leaves alone."""
    base, read, write = "/nodes/{node}/firewall", _on("/nodes/{node}", "Sys.Audit"), _on("/nodes/{node}", "Sys.Modify")
    for call in _firewall(base, read, write, Used.NEVER, "a node's firewall"):
        if (call.verb, call.template) == ("GET", base + "/options"):
            yield ApiCall("GET", call.template, "whether the node's firewall is in nftables", read)
        elif "/ipset" not in call.template and "/aliases" not in call.template:  # nodes have neither
            yield call


def _admin() -> Iterator[ApiCall]:
    """What ``zentoria bootstrap`` makes."""
    yield ApiCall("POST", "/access/ticket", "log in with a password", used=Used.ADMIN)
    upload = _on("/storage/{storage}", "Datastore.AllocateTemplate")
    path = "/nodes/{node}/storage/{storage}/upload"
    yield ApiCall("POST", path, "upload a prepared template", upload, task=True, repeatable=False, used=Used.ADMIN)
    yield ApiCall("POST", "/pools", "make the pool", _POOL_ADMIN, used=Used.ADMIN)
    yield ApiCall("PUT", "/pools", "add members to the pool", _POOL_ADMIN, repeatable=False, used=Used.NEVER)
    yield ApiCall("DELETE", "/pools", "remove the pool", _POOL_ADMIN, used=Used.ADMIN)
    roles = _on("/access", "Sys.Modify")
    yield ApiCall("GET", "/access/roles", "roles that are there", used=Used.ADMIN)
    yield ApiCall("POST", "/access/roles", "make a role", roles, used=Used.ADMIN)
    yield ApiCall("PUT", "/access/roles/{roleid}", "give a role its privileges", roles, used=Used.ADMIN)
    yield ApiCall("DELETE", "/access/roles/{roleid}", "remove a role", roles, used=Used.ADMIN)
    users = (*_on("/access/realm/{realm}", "Realm.AllocateUser"), *_on("/access/groups", "User.Modify"))
    change = _on("/access/groups", "User.Modify")
    tokens = "/access/users/{userid}/token"
    yield ApiCall("GET", "/access/users", "users that are there", shows=change, used=Used.ADMIN)
    yield ApiCall("POST", "/access/users", "make the user", users, used=Used.ADMIN)
    yield ApiCall("DELETE", "/access/users/{userid}", "remove the user", users, used=Used.ADMIN)
    yield ApiCall("GET", tokens, "tokens of the user", change, used=Used.ADMIN)
    yield ApiCall("POST", tokens + "/{tokenid}", "make the token", change, repeatable=False, used=Used.ADMIN)
    yield ApiCall("PUT", tokens + "/{tokenid}", "separate the token's rights", change, used=Used.ADMIN)
    yield ApiCall("DELETE", tokens + "/{tokenid}", "remove the token", change, used=Used.ADMIN)
    grants = _on("{path}", "Permissions.Modify")
    yield ApiCall("GET", "/access/acl", "rights that are there", shows=grants, used=Used.ADMIN)
    yield ApiCall("PUT", "/access/acl", "give and take rights", grants, used=Used.ADMIN)
    zone = _on("/sdn/zones/{zone}/{vnet}", "SDN.Audit")
    yield ApiCall("GET", "/cluster/sdn/vnets", "zones of bridges that are vnets", shows=zone, used=Used.ADMIN)


ENDPOINTS: tuple[ApiCall, ...] = (
    *_reading(),
    *_guests(),
    *_firewall(
        _GUEST + "/firewall", _AUDIT, _on("/vms/{vmid}", "VM.Config.Network"), Used.ALWAYS, "a container's firewall"
    ),
    *_datacenter(),
    *_hosts(),
    *_admin(),
)
"""The table."""

_BY_KEY = MappingProxyType({(call.verb, call.template): call for call in ENDPOINTS})


def require(verb: str, template: str) -> ApiCall:
    """The entry of an endpoint.

    Raises:
        UnknownEndpointError: there is none.
    """
    try:
        return _BY_KEY[verb, template]
    except KeyError:
        raise UnknownEndpointError(
            f"{verb} {template} is not in the table of endpoints (zentoria_infra/proxmox/endpoints.py): add it there, "
            "with the rights that it needs"
        ) from None
