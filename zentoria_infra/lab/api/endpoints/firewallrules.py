"""Firewall rules of the cluster, the node, the groups and the containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import bad_params, internal
from zentoria_infra.lab.api.firewall import macros, rules, store
from zentoria_infra.lab.api.firewall.conf import RULE_KEYS, FirewallConf, Rule
from zentoria_infra.lab.api.firewall.store import Scope
from zentoria_infra.lab.api.routing import Call, Permission, Routes, needs
from zentoria_infra.lab.api.schema import Param, Schema, opt

routes = Routes()
_NAME = r"[A-Za-z][A-Za-z0-9\-\_]+"
DIGEST = Param(optional=True, max_length=64)
_NUMBER = Param("integer", optional=True, minimum=0)
_ADDRESS = Param(optional=True, max_length=512, format="pve-fw-addr-spec")
_FIELDS: Schema = {
    "action": Param(pattern=_NAME, min_length=2, max_length=20),
    "type": Param(enum=("in", "out", "forward", "group")),
    "comment": Param(optional=True),
    "dest": _ADDRESS,
    "digest": DIGEST,
    "dport": Param(optional=True, format="pve-fw-dport-spec"),
    "enable": _NUMBER,
    "icmp-type": Param(optional=True, format="pve-fw-icmp-type-spec"),
    "iface": Param(optional=True, min_length=2, max_length=20, format="pve-iface"),
    "log": Param(optional=True, enum=rules.LOG_LEVELS),
    "macro": Param(optional=True, max_length=128),
    "pos": _NUMBER,
    "proto": Param(optional=True, format="pve-fw-protocol-spec"),
    "source": _ADDRESS,
    "sport": Param(optional=True, format="pve-fw-sport-spec"),
}
_UPDATE: Schema = {
    **{name: opt(param) for name, param in _FIELDS.items()},
    "delete": Param(optional=True, format="pve-configid-list"),
    "moveto": _NUMBER,
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a list of rules is: ``base`` in the URL, which file, and who may read and write it."""

    base: str
    scope: Callable[[Call], Scope]
    environment: str
    audit: Permission
    modify: Permission


CLUSTER_AUDIT, CLUSTER_MODIFY = needs("/", "Sys.Audit"), needs("/", "Sys.Modify")
GUEST_AUDIT, GUEST_MODIFY = needs("/vms/{vmid}", "VM.Audit"), needs("/vms/{vmid}", "VM.Config.Network")
GUEST_BASE = "/nodes/{node}/lxc/{vmid}/firewall"
PLACES = (
    Place("/cluster/firewall/rules", lambda _: store.CLUSTER, "cluster", CLUSTER_AUDIT, CLUSTER_MODIFY),
    Place("/cluster/firewall/groups/{group}", lambda _: store.CLUSTER, "group", CLUSTER_AUDIT, CLUSTER_MODIFY),
    Place("/nodes/{node}/firewall/rules", lambda _: store.HOST, "host", needs("/nodes/{node}", "Sys.Audit"),
          needs("/nodes/{node}", "Sys.Modify")),
    Place(f"{GUEST_BASE}/rules", lambda call: store.guest(call.vmid), "ct", GUEST_AUDIT, GUEST_MODIFY),
)  # fmt: skip


def _list(call: Call, conf: FirewallConf, place: Place) -> list[Rule]:
    if place.environment != "group":
        return conf.rules
    name = call.text("group")
    if name not in conf.groups:
        raise internal(f"no such security group '{name}'")
    return conf.groups[name].rules


def _plain(rule: Rule) -> dict[str, object]:
    return {"type": rule.type, "action": rule.action, "enable": int(rule.enable), **rule.fields}


def _digest(listed: list[Rule]) -> str:
    return store.digest([_plain(rule) for rule in listed])


def _row(call: Call, rule: Rule, pos: int | str, digest: str, local: FirewallConf) -> dict[str, object]:
    cluster = call.node.firewall.get(store.CLUSTER)
    row = {**_plain(rule), "pos": pos, "digest": digest}
    if (version := rules.version(rule, local, cluster)) is not None:
        row["ipversion"] = version
    problems = {name: gone for name in ("source", "dest")
                if (gone := rules.missing(rule.fields.get(name, ""), local, cluster))}  # fmt: skip
    return {**row, "errors": problems} if problems else row


def _at(listed: list[Rule], pos: int) -> Rule:
    if pos >= len(listed):
        raise internal(f"no rule at position {pos}")
    return listed[pos]


def _read_fields(call: Call, rule: Rule) -> None:
    for name in RULE_KEYS:
        if call.given(name):
            rule.fields[name] = call.text(name).partition("\n")[0] if name == "comment" else call.text(name)
    rule.fields = {name: value for name, value in rule.fields.items() if value}
    if macro := rule.fields.get("macro"):
        rule.fields["macro"] = macros.canonical(macro) or macro
    if call.given("type"):
        rule.type = call.text("type")
    if call.given("action"):
        rule.action = call.text("action")
    if call.given("enable"):
        rule.enable = call.number("enable") > 0


def _check(call: Call, rule: Rule, place: Place, local: FirewallConf) -> None:
    if errors := rules.check(rule, place.environment, local, call.node.firewall.get(store.CLUSTER)):
        raise bad_params(errors)


def _register(place: Place) -> None:
    def read_all(call: Call) -> object:
        conf = call.node.firewall.get(place.scope(call))
        listed = _list(call, conf, place)
        digest = _digest(listed)
        return [_row(call, rule, pos, digest, conf) for pos, rule in enumerate(listed)]

    def create(call: Call) -> object:
        with call.node.firewall.change(place.scope(call)) as conf:
            listed = _list(call, conf, place)
            rule = Rule("", "")
            _read_fields(call, rule)
            _check(call, rule, place, conf)
            listed.insert(0, rule)
        return None

    def read_one(call: Call) -> object:
        conf = call.node.firewall.get(place.scope(call))
        listed = _list(call, conf, place)
        pos = call.number("pos")
        return _row(call, _at(listed, pos), str(pos), _digest(listed), conf)

    def update(call: Call) -> object:
        with call.node.firewall.change(place.scope(call)) as conf:
            listed = _list(call, conf, place)
            store.check_digest(call.text("digest"), _digest(listed))
            pos = call.number("pos")
            rule = _at(listed, pos)
            if call.given("moveto"):
                _move(listed, pos, call.number("moveto"))
                return None
            _read_fields(call, rule)
            for name in items(call.text("delete")):
                rule.fields.pop(name, None)
            _check(call, rule, place, conf)
        return None

    def delete(call: Call) -> object:
        with call.node.firewall.change(place.scope(call)) as conf:
            listed = _list(call, conf, place)
            store.check_digest(call.text("digest"), _digest(listed))
            _at(listed, call.number("pos"))
            del listed[call.number("pos")]
        return None

    one = f"{place.base}/{{pos}}"
    routes.add("GET", place.base, place.audit)(read_all)
    routes.add("POST", place.base, place.modify, _FIELDS)(create)
    routes.add("GET", one, place.audit)(read_one)
    routes.add("PUT", one, place.modify, _UPDATE)(update)
    routes.add("DELETE", one, place.modify, {"digest": DIGEST})(delete)


def _move(listed: list[Rule], pos: int, moveto: int) -> None:
    """Move a rule before the one that was at ``moveto``, counted in the old list (PVE::API2::Firewall::Rules)."""
    rule = listed[pos]
    others: list[Rule] = []
    for index, other in enumerate(listed):
        if index == moveto:
            others.append(rule)
        if index != pos:
            others.append(other)
    if moveto >= len(listed):
        others.append(rule)
    listed[:] = others


for _place in PLACES:
    _register(_place)
