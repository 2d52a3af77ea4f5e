"""Endpoints and how a call reaches one: path, permission, parameters, body - in Proxmox's order."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from zentoria_infra.lab.api import schema
from zentoria_infra.lab.api.auth.rights import ROOT, Rights
from zentoria_infra.lab.api.faults import Fault, bad_params, forbidden, internal
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.schema import Param, Schema, Values

METHODS = ("GET", "POST", "PUT", "DELETE")

URI_PARAMS: Schema = {
    "node": Param(format="pve-node"),
    "vmid": Param("integer", minimum=100, maximum=999999999, format="pve-vmid"),
    "storage": Param(format="pve-storage-id"),
    "volume": Param(),
    "poolid": Param(format="pve-poolid"),
    "userid": Param(max_length=64, format="pve-userid"),
    "tokenid": Param(pattern=r"[A-Za-z][A-Za-z0-9.\-_]+"),
    "roleid": Param(format="pve-roleid"),
    "groupid": Param(format="pve-groupid"),
    "realm": Param(max_length=32, format="pve-realm"),
    "upid": Param(),
    "iface": Param(min_length=2, max_length=20, format="pve-iface"),
    "snapname": Param(max_length=40, format="pve-configid"),
    "name": Param(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", min_length=2, max_length=64),
    "group": Param(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", min_length=2, max_length=18),
    "pos": Param("integer", optional=True, minimum=0),
    "cidr": Param(format="IPorCIDRorAlias"),
    "service": Param(
        enum=("chrony", "corosync", "cron", "ksmtuned", "postfix", "pve-cluster", "pve-firewall", "pve-ha-crm",
              "pve-ha-lrm", "pvedaemon", "pvefw-logger", "pveproxy", "pvescheduler", "pvestatd", "spiceproxy", "sshd",
              "syslog", "systemd-journald", "systemd-timesyncd")
    ),
}  # fmt: skip
"""Parameters that stand in paths; they mean the same everywhere."""


@dataclasses.dataclass
class Call:
    """One call: who calls what with which parameters.

    ``who`` is ``user@realm`` or ``user@realm!token``. ``raw`` holds the parameters as they came, ``values`` those that
    were checked. An endpoint may put more beside ``data`` into ``extra`` (``total``, ``changes``).
    """

    node: Node
    who: str
    raw: Mapping[str, object]
    values: Values = dataclasses.field(default_factory=dict)
    extra: dict[str, object] = dataclasses.field(default_factory=dict)

    @property
    def rights(self) -> Rights:
        """The rights of this moment."""
        return self.node.access.rights

    @property
    def is_root(self) -> bool:
        """root@pam itself; its tokens are not."""
        return self.who == ROOT

    def given(self, name: str) -> bool:
        """Whether a parameter was sent."""
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        """A parameter as text."""
        return str(self.values.get(name, default))

    def number(self, name: str, default: int = 0) -> int:
        """An integer parameter."""
        return int(self.values.get(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter."""
        return bool(int(self.values.get(name, default)))

    @property
    def vmid(self) -> int:
        """The container in the path."""
        return self.number("vmid")

    def check(self, path: str, *privileges: str) -> None:
        """Raise a 403 Fault unless the caller has all of these privileges."""
        self.rights.check(self.who, path, *privileges)

    def has(self, path: str, *privileges: str) -> bool:
        """Whether the caller has one of these privileges."""
        return self.rights.has_any(self.who, path, *privileges)


Permission = Callable[[Call], None]
Handler = Callable[[Call], object]


def everyone(_: Call) -> None:
    """Any user who is logged in; the endpoint filters or checks by itself."""


def world(_: Call) -> None:
    """Anybody, without a login."""


def needs(path: str, *privileges: str, any_of: bool = False) -> Permission:
    """All (or one) of the privileges on a path; ``{name}`` in the path is a parameter."""

    def check(call: Call) -> None:
        where = re.sub(r"\{(\w+)\}", lambda match: str(call.raw.get(match[1], "")), path)
        if any_of:
            call.rights.check_any(call.who, where, *privileges)
        else:
            call.check(where, *privileges)

    return check


@dataclasses.dataclass(frozen=True)
class Route:
    """An endpoint. A last path part ``{name*}`` takes the rest of the path, slashes too."""

    method: str
    path: str
    permission: Permission
    schema: Schema
    handler: Handler
    token: bool = True
    since: tuple[int, int] = (8, 0)

    @property
    def documented(self) -> str:
        """The path as Proxmox's documentation has it."""
        return self.path.replace("*}", "}")


class Routes:
    """A module's endpoints."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        permission: Permission = everyone,
        params: Schema | None = None,
        *,
        token: bool = True,
        since: tuple[int, int] = (8, 0),
    ) -> Callable[[Handler], Handler]:
        """Register the function below as an endpoint."""
        names = re.findall(r"\{(\w+)\*?\}", path)
        declared = {**{name: URI_PARAMS[name] for name in names}, **(params or {})}

        def register(handler: Handler) -> Handler:
            self.routes.append(Route(method, path, permission, declared, handler, token, since))
            return handler

        return register


class _Step:
    """A node of the tree of paths."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Step] = {}
        self.variable: tuple[str, _Step] | None = None
        self.rest: tuple[str, dict[str, Route]] | None = None
        self.methods: dict[str, Route] = {}


class Router:
    """Finds the endpoint for a path."""

    def __init__(self, routes: list[Route], release: tuple[int, int]) -> None:
        self.routes = [_of_release(route, release) for route in routes if route.since <= release]
        self._root = _Step()
        for route in self.routes:
            self._insert(route)

    def _insert(self, route: Route) -> None:
        step = self._root
        for part in route.path.strip("/").split("/"):
            if part.endswith("*}"):
                if step.rest is None:
                    step.rest = (part[1:-2], {})
                step.rest[1][route.method] = route
                return
            if part.startswith("{"):
                if step.variable is None:
                    step.variable = (part[1:-1], _Step())
                step = step.variable[1]
            else:
                step = step.fixed.setdefault(part, _Step())
        step.methods[route.method] = route

    def find(self, method: str, parts: list[str]) -> tuple[Route, dict[str, str]] | None:
        """The endpoint and the parameters in the path; ``parts`` are decoded."""
        step = self._root
        found: dict[str, str] = {}
        for index, part in enumerate(parts):
            if part in step.fixed:
                step = step.fixed[part]
            elif step.variable is not None:
                found[step.variable[0]] = part
                step = step.variable[1]
            elif step.rest is not None:
                name, methods = step.rest
                found[name] = "/".join(parts[index:])
                return (methods[method], found) if method in methods else None
            else:
                return None
        return (step.methods[method], found) if method in step.methods else None


def _of_release(route: Route, release: tuple[int, int]) -> Route:
    return dataclasses.replace(route, schema=schema.of_release(route.schema, release))


def merge(in_path: Mapping[str, str], given: Mapping[str, object]) -> dict[str, object]:
    """Parameters of path and request together; a contradiction is a 400 Fault."""
    merged: dict[str, object] = dict(given)
    for name, value in in_path.items():
        if name in given and schema.as_text(given[name]) != value:
            raise bad_params({name: "duplicate parameter (already defined in URI) with conflicting values!"})
        merged[name] = value
    return merged


def run(node: Node, route: Route, who: str, params: Mapping[str, object]) -> Call:
    """Check and carry out a call; the result is in ``extra["data"]``. Raises Fault."""
    call = Call(node, who, params)
    if not route.token and "!" in who:
        path = route.documented
        raise forbidden(f"URI '{path}' not available with API token, need proper ticket.")
    route.permission(call)
    _check_node(node, params)
    call.values = schema.verify(params, route.schema)
    call.extra["data"] = route.handler(call)
    return call


def _check_node(node: Node, params: Mapping[str, object]) -> None:
    name = params.get("node")
    if isinstance(name, str) and name not in (node.name, "localhost") and re.fullmatch(r"[a-zA-Z0-9-]+", name):
        raise internal(
            f"hostname lookup '{name}' failed - failed to get address info for: {name}: "
            "Temporary failure in name resolution"
        )


def not_implemented(method: str, path: str) -> Fault:
    """Status 501: no such path, or not with that method."""
    return Fault(501, f"Method '{method} {path}' not implemented")
