"""IP sets of the cluster and of containers, and the cluster's security groups."""

from __future__ import annotations

from zentoria_infra.lab.api.endpoints.firewallrules import (
    CLUSTER_MODIFY,
    DIGEST,
    GUEST_BASE,
    PLACES,
    Place,
)
from zentoria_infra.lab.api.faults import bad_params, internal
from zentoria_infra.lab.api.firewall import rules, store
from zentoria_infra.lab.api.firewall.conf import Entry, FirewallConf, Group, IpSet
from zentoria_infra.lab.api.routing import URI_PARAMS, Call, Routes, everyone
from zentoria_infra.lab.api.schema import Param, opt

routes = Routes()
_TEXT = Param(optional=True)
_FLAG = Param("boolean", optional=True)


def _comment(call: Call) -> str:
    return call.text("comment").partition("\n")[0].strip()


def _plain(cidr: str) -> str:
    """Without the prefix of a single address (PVE::Firewall::parse_ip_or_cidr)."""
    return cidr.removesuffix("/128") if ":" in cidr else cidr.removesuffix("/32")


def _set(conf: FirewallConf, name: str) -> IpSet:
    if name not in conf.ipsets:
        raise internal(f"no such IPSet '{name}'")
    return conf.ipsets[name]


def _sets_digest(conf: FirewallConf) -> str:
    return store.digest([{"name": name, "comment": ipset.comment} for name, ipset in sorted(conf.ipsets.items())])


def _entry_row(entry: Entry) -> dict[str, object]:
    row: dict[str, object] = {"cidr": entry.cidr}
    if entry.nomatch:
        row["nomatch"] = 1
    return {**row, "comment": entry.comment} if entry.comment else row


def _entries_digest(ipset: IpSet) -> str:
    return store.digest([_entry_row(entry) for entry in ipset.entries])


def _find(ipset: IpSet, cidr: str) -> Entry | None:
    return next((entry for entry in ipset.entries if entry.cidr == cidr), None)


def _register_sets(where: Place, base: str) -> None:
    audit, modify = where.audit, where.modify

    def read_all(call: Call) -> object:
        conf = call.node.firewall.get(where.scope(call))
        digest = _sets_digest(conf)
        rows = []
        for name, ipset in sorted(conf.ipsets.items()):
            row = {"name": name, "digest": digest}
            rows.append({**row, "comment": ipset.comment} if ipset.comment else row)
        return rows

    def create(call: Call) -> object:
        name, old = call.text("name"), call.text("rename")
        with call.node.firewall.change(where.scope(call)) as conf:
            store.check_digest(call.text("digest"), _sets_digest(conf))
            if old:
                ipset = _set(conf, old)
                if name != old and name in conf.ipsets:
                    raise bad_params({"name": f"IPSet '{name}' already exists"})
                del conf.ipsets[old]
                conf.ipsets[name] = ipset
                if call.given("comment"):
                    ipset.comment = _comment(call)
            elif name in conf.ipsets:
                raise bad_params({"name": f"IPSet '{name}' already exists"})
            else:
                conf.ipsets[name] = IpSet(_comment(call))
        return None

    def delete(call: Call) -> object:
        name = call.text("name")
        with call.node.firewall.change(where.scope(call)) as conf:
            if conf.ipsets.get(name, IpSet()).entries and not call.flag("force"):
                raise internal(f"IPSet '{name}' is not empty")
            conf.ipsets.pop(name, None)
        return None

    def entries(call: Call) -> object:
        ipset = _set(call.node.firewall.get(where.scope(call)), call.text("name"))
        digest = _entries_digest(ipset)
        return [{**_entry_row(entry), "digest": digest} for entry in ipset.entries]

    def add(call: Call) -> object:
        cidr = _plain(call.text("cidr"))
        if cidr.endswith("/0"):
            raise bad_params({"cidr": "a zero prefix is not allowed in ipset entries"})
        with call.node.firewall.change(where.scope(call)) as conf:
            ipset = _set(conf, call.text("name"))
            if _find(ipset, cidr) is not None:
                raise bad_params({"cidr": f"address '{cidr}' already exists"})
            if gone := rules.missing(cidr, conf, call.node.firewall.get(store.CLUSTER)):
                raise internal(gone)
            ipset.entries.append(Entry(cidr, call.flag("nomatch"), _comment(call)))
        return None

    def read_entry(call: Call) -> object:
        ipset = _set(call.node.firewall.get(where.scope(call)), call.text("name"))
        entry = _find(ipset, call.text("cidr"))
        if entry is None:
            raise bad_params({"cidr": "no such IP/Network"})
        return {**_entry_row(entry), "digest": _entries_digest(ipset)}

    def update_entry(call: Call) -> object:
        with call.node.firewall.change(where.scope(call)) as conf:
            ipset = _set(conf, call.text("name"))
            store.check_digest(call.text("digest"), _entries_digest(ipset))
            entry = _find(ipset, call.text("cidr"))
            if entry is None:
                raise bad_params({"cidr": "no such IP/Network"})
            entry.nomatch = call.flag("nomatch", entry.nomatch)
            if call.given("comment"):
                entry.comment = _comment(call)
        return None

    def delete_entry(call: Call) -> object:
        with call.node.firewall.change(where.scope(call)) as conf:
            ipset = _set(conf, call.text("name"))
            store.check_digest(call.text("digest"), _entries_digest(ipset))
            ipset.entries = [entry for entry in ipset.entries if entry.cidr != call.text("cidr")]
        return None

    name = URI_PARAMS["name"]
    made = {"name": name, "comment": _TEXT, "digest": DIGEST, "rename": opt(name)}
    entry = {"comment": _TEXT, "nomatch": _FLAG}
    routes.add("GET", base, audit)(read_all)
    routes.add("POST", base, modify, made)(create)
    routes.add("DELETE", f"{base}/{{name}}", modify, {"force": _FLAG})(delete)
    routes.add("GET", f"{base}/{{name}}", audit)(entries)
    routes.add("POST", f"{base}/{{name}}", modify, {**entry, "cidr": URI_PARAMS["cidr"]})(add)
    routes.add("GET", f"{base}/{{name}}/{{cidr*}}", audit)(read_entry)
    routes.add("PUT", f"{base}/{{name}}/{{cidr*}}", modify, {**entry, "digest": DIGEST})(update_entry)
    routes.add("DELETE", f"{base}/{{name}}/{{cidr*}}", modify, {"digest": DIGEST})(delete_entry)


_register_sets(PLACES[0], "/cluster/firewall/ipset")
_register_sets(PLACES[3], f"{GUEST_BASE}/ipset")


def _groups_digest(conf: FirewallConf) -> str:
    return store.digest([{"group": name, "comment": group.comment} for name, group in sorted(conf.groups.items())])


@routes.add("GET", "/cluster/firewall/groups", everyone)
def _groups(call: Call) -> object:
    conf = call.node.firewall.get(store.CLUSTER)
    digest = _groups_digest(conf)
    rows = []
    for name, group in sorted(conf.groups.items()):
        row = {"group": name, "digest": digest}
        rows.append({**row, "comment": group.comment} if group.comment else row)
    return rows


_GROUP = URI_PARAMS["group"]


@routes.add("POST", "/cluster/firewall/groups", CLUSTER_MODIFY,
            {"group": _GROUP, "comment": _TEXT, "digest": DIGEST, "rename": opt(_GROUP)})  # fmt: skip
def _create_group(call: Call) -> object:
    name, old = call.text("group"), call.text("rename")
    with call.node.firewall.change(store.CLUSTER) as conf:
        store.check_digest(call.text("digest"), _groups_digest(conf))
        if old and old not in conf.groups:
            raise bad_params({"group": f"Security group '{old}' does not exist"})
        if name != old and name in conf.groups:
            raise bad_params({"group": f"Security group '{name}' already exists"})
        group = conf.groups.pop(old) if old else Group()
        if call.given("comment"):
            group.comment = _comment(call)
        conf.groups[name] = group
    return None


@routes.add("DELETE", "/cluster/firewall/groups/{group}", CLUSTER_MODIFY)
def _delete_group(call: Call) -> object:
    name = call.text("group")
    with call.node.firewall.change(store.CLUSTER) as conf:
        if conf.groups.get(name, Group()).rules:
            raise internal(f"Security group '{name}' is not empty")
        conf.groups.pop(name, None)
    return None
