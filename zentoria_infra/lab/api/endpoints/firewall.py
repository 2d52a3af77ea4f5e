"""Firewall options, aliases, IP sets, security groups, references, macros and logs."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable

from zentoria_infra.lab.api.endpoints import firewallrules
from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.endpoints.firewallrules import DIGEST, GUEST_BASE
from zentoria_infra.lab.api.faults import bad_params
from zentoria_infra.lab.api.firewall import macros, rules, store
from zentoria_infra.lab.api.firewall.conf import Alias, FirewallConf
from zentoria_infra.lab.api.firewall.store import Scope
from zentoria_infra.lab.api.routing import Call, Permission, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param, Schema

routes = Routes()
_FLAG = Param("boolean", optional=True)
_TEXT = Param(optional=True)
_COUNT = Param("integer", optional=True, minimum=0)
_POLICY = Param(optional=True, enum=("ACCEPT", "REJECT", "DROP"))
_LEVEL = Param(optional=True, enum=rules.LOG_LEVELS)
_CHANGE: Schema = {"delete": Param(optional=True, format="pve-configid-list"), "digest": DIGEST}
_RATE: Schema = {
    "enable": Param("boolean", default_key=True),
    "burst": _COUNT,
    "rate": Param(optional=True, pattern=r"[1-9][0-9]*/(second|minute|hour|day)"),
}
_CLUSTER_OPTIONS: Schema = {
    "ebtables": _FLAG,
    "enable": _COUNT,
    "log_ratelimit": Param(optional=True, format=_RATE),
    "policy_forward": Param(optional=True, enum=("ACCEPT", "DROP")),
    "policy_in": _POLICY,
    "policy_out": _POLICY,
}
_GUEST_OPTIONS: Schema = {
    **{name: _FLAG for name in ("dhcp", "enable", "ipfilter", "macfilter", "ndp", "radv")},
    "log_level_in": _LEVEL,
    "log_level_out": _LEVEL,
    "policy_in": _POLICY,
    "policy_out": _POLICY,
}
_HOST_OPTIONS: Schema = {
    **{
        name: _FLAG
        for name in (
            *("enable", "log_nf_conntrack", "ndp", "nf_conntrack_allow_invalid", "nftables", "nosmurfs"),
            *("protection_synflood", "tcpflags"),
        )
    },
    **{
        name: _LEVEL
        for name in (*("log_level_forward", "log_level_in", "log_level_out", "smurf_log_level", "tcp_flags_log_level"),)
    },
    "nf_conntrack_helpers": _TEXT,
    "nf_conntrack_max": Param("integer", optional=True, minimum=32768),
    "nf_conntrack_tcp_timeout_established": Param("integer", optional=True, minimum=7875),
    "nf_conntrack_tcp_timeout_syn_recv": Param("integer", optional=True, minimum=30, maximum=60),
    "protection_synflood_burst": Param("integer", optional=True),
    "protection_synflood_rate": Param("integer", optional=True),
}


@dataclasses.dataclass(frozen=True)
class Place:
    """One firewall: ``base`` in the URL, which file, its options, who may read and write."""

    base: str
    scope: Callable[[Call], Scope]
    options: Schema
    audit: Permission
    modify: Permission


_CLUSTER = Place(
    "/cluster/firewall",
    lambda _: store.CLUSTER,
    _CLUSTER_OPTIONS,
    firewallrules.CLUSTER_AUDIT,
    firewallrules.CLUSTER_MODIFY,
)
_HOST = Place(
    "/nodes/{node}/firewall",
    lambda _: store.HOST,
    _HOST_OPTIONS,
    needs("/nodes/{node}", "Sys.Audit"),
    needs("/nodes/{node}", "Sys.Modify"),
)
_GUEST = Place(
    GUEST_BASE,
    lambda call: store.guest(call.vmid),
    _GUEST_OPTIONS,
    firewallrules.GUEST_AUDIT,
    firewallrules.GUEST_MODIFY,
)


def _options(place: Place) -> None:
    def read(call: Call) -> object:
        options = call.node.firewall.get(place.scope(call)).options
        return {**_typed(place.options, options), "digest": store.digest(options)}

    def update(call: Call) -> object:
        delete = items(call.text("delete"))
        for name in delete:
            if name not in place.options:
                raise bad_params({"delete": f"no such option '{name}'"})
        with call.node.firewall.change(place.scope(call)) as conf:
            store.check_digest(call.text("digest"), store.digest(conf.options))
            for name in delete:
                conf.options.pop(name, None)
            conf.options.update({name: call.text(name) for name in place.options if call.given(name)})
        return None

    routes.add("GET", f"{place.base}/options", place.audit)(read)
    routes.add("PUT", f"{place.base}/options", place.modify, {**place.options, **_CHANGE})(update)


def _typed(schema: Schema, options: dict[str, str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in options.items():
        kind = schema[name].type if name in schema else "string"
        row[name] = int(value) if kind in ("integer", "boolean") and value.lstrip("-").isdigit() else value
    return row


def _alias_row(alias: Alias) -> dict[str, object]:
    row: dict[str, object] = {"name": alias.name, "cidr": alias.cidr}
    row["ipversion"] = ipaddress.ip_interface(alias.cidr).version
    return {**row, "comment": alias.comment} if alias.comment else row


def _alias(conf: FirewallConf, name: str) -> Alias:
    if name.lower() not in conf.aliases:
        raise bad_params({"name": "no such alias"})
    return conf.aliases[name.lower()]


def _alias_digest(conf: FirewallConf) -> str:
    return store.digest([_alias_row(alias) for alias in conf.aliases.values()])


_ALIAS_NAME = Param(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", min_length=2, max_length=64)
_OPTIONAL_NAME = dataclasses.replace(_ALIAS_NAME, optional=True)
_CIDR = Param(format="IPorCIDR")


def _aliases(place: Place) -> None:
    def read_all(call: Call) -> object:
        conf = call.node.firewall.get(place.scope(call))
        digest = _alias_digest(conf)
        return [{**_alias_row(alias), "digest": digest} for alias in conf.aliases.values()]

    def create(call: Call) -> object:
        name = call.text("name")
        with call.node.firewall.change(place.scope(call)) as conf:
            if name.lower() in conf.aliases:
                raise bad_params({"name": f"alias '{name.lower()}' already exists"})
            conf.aliases[name.lower()] = Alias(name, call.text("cidr"), _comment(call))
        return None

    def read_one(call: Call) -> object:
        return _alias_row(_alias(call.node.firewall.get(place.scope(call)), call.text("name")))

    def update(call: Call) -> object:
        name, new = call.text("name").lower(), call.text("rename")
        with call.node.firewall.change(place.scope(call)) as conf:
            store.check_digest(call.text("digest"), _alias_digest(conf))
            alias = _alias(conf, name)
            if new and new.lower() != name and new.lower() in conf.aliases:
                raise bad_params({"name": f"alias '{new.lower()}' already exists"})
            alias.cidr, alias.comment = call.text("cidr"), _comment(call)
            if new:
                alias.name = new
                conf.aliases = {key if key != name else new.lower(): item for key, item in conf.aliases.items()}
        return None

    def delete(call: Call) -> object:
        with call.node.firewall.change(place.scope(call)) as conf:
            store.check_digest(call.text("digest"), _alias_digest(conf))
            conf.aliases.pop(call.text("name").lower(), None)
        return None

    base = f"{place.base}/aliases"
    routes.add("GET", base, place.audit)(read_all)
    routes.add("POST", base, place.modify, {"name": _ALIAS_NAME, "cidr": _CIDR, "comment": _TEXT})(create)
    routes.add("GET", f"{base}/{{name}}", place.audit)(read_one)
    changed = {"cidr": _CIDR, "comment": _TEXT, "digest": DIGEST, "rename": _OPTIONAL_NAME}
    routes.add("PUT", f"{base}/{{name}}", place.modify, changed)(update)
    routes.add("DELETE", f"{base}/{{name}}", place.modify, {"digest": DIGEST})(delete)


def _comment(call: Call) -> str:
    return call.text("comment").partition("\n")[0].strip()


def _refs(place: Place) -> None:
    def read(call: Call) -> object:
        found = []
        scopes = [("dc", store.CLUSTER)]
        if place is _GUEST:
            scopes.append(("guest", place.scope(call)))
        for label, scope in scopes:
            conf = call.node.firewall.get(scope)
            if call.text("type") != "ipset":
                found += [
                    _ref("alias", label, alias.name, alias.name, alias.comment) for alias in conf.aliases.values()
                ]
            if call.text("type") != "alias":
                found += [_ref("ipset", label, name, f"+{name}", ipset.comment) for name, ipset in conf.ipsets.items()]
        return found

    kinds = {"type": Param(optional=True, enum=("alias", "ipset"))}
    routes.add("GET", f"{place.base}/refs", place.audit, kinds)(read)


def _ref(kind: str, scope: str, name: str, ref: str, comment: str) -> dict[str, object]:
    row: dict[str, object] = {"type": kind, "scope": scope, "name": name, "ref": ref}
    return {**row, "comment": comment} if comment else row


def _log(place: Place, permission: Permission) -> None:
    def read(call: Call) -> object:
        call.extra["total"] = 1
        return {"n": 1, "t": "unable to open file - No such file or directory"}

    window = {name: _COUNT for name in ("limit", "since", "start", "until")}
    routes.add("GET", f"{place.base}/log", permission, window)(read)


def _index(place: Place, names: tuple[str, ...]) -> None:
    routes.add("GET", place.base)(lambda _: [{"name": name} for name in names])


@routes.add("GET", "/cluster/firewall/macros", everyone)
def _macros(_: Call) -> object:
    return [{"macro": name, "descr": description} for name, (description, _parts) in sorted(macros.MACROS.items())]


for _place in (_CLUSTER, _HOST, _GUEST):
    _options(_place)
for _place in (_CLUSTER, _GUEST):
    _aliases(_place)
    _refs(_place)
_log(_GUEST, needs("/vms/{vmid}", "VM.Console"))
_log(_HOST, needs("/nodes/{node}", "Sys.Syslog"))
_index(_CLUSTER, ("rules", "options", "groups", "ipset", "aliases", "macros", "refs"))
_index(_HOST, ("rules", "options", "log"))
_index(_GUEST, ("rules", "aliases", "ipset", "options", "log", "refs"))
