"""``/nodes/{node}/network``: bridges, and changes to them that wait until they are applied."""

from __future__ import annotations

import dataclasses

from zentoria_infra.lab.api import interfaces
from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import bad_params
from zentoria_infra.lab.api.interfaces import Stanza
from zentoria_infra.lab.api.routing import URI_PARAMS, Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param, Schema
from zentoria_infra.lab.runtime import Log

routes = Routes()
_TEXT = Param(optional=True)
_FLAG = Param("boolean", optional=True)
_IFACE = Param(optional=True, format="pve-iface")
_IFACES = Param(optional=True, format="pve-iface-list")
_VLAN = Param("integer", optional=True, minimum=1, maximum=4094)
_TYPES = ("bridge", "bond", "eth", "alias", "vlan", "fabric", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort", "vnet")
_FILTERS = (*_TYPES, "any_bridge", "any_local_bridge", "include_sdn")
_NEWER = frozenset({"fabric", "include_sdn"})
_BOND_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb",
               "balance-slb", "lacp-balance-slb", "lacp-balance-tcp")  # fmt: skip
_OPTIONS: Schema = {
    "type": Param(enum=(*_TYPES, "unknown"), newer=_NEWER),
    "address": Param(optional=True, format="ipv4", requires="netmask"),
    "address6": Param(optional=True, format="ipv6", requires="netmask6"),
    "autostart": _FLAG,
    "bond-primary": _IFACE,
    "bond_mode": Param(optional=True, enum=_BOND_MODES),
    "bond_xmit_hash_policy": Param(optional=True, enum=("layer2", "layer2+3", "layer3+4")),
    "bridge_ports": _IFACES,
    "bridge_vids": _TEXT,
    "bridge_vlan_aware": _FLAG,
    "cidr": Param(optional=True, format="CIDRv4"),
    "cidr6": Param(optional=True, format="CIDRv6"),
    "comments": _TEXT,
    "comments6": _TEXT,
    "gateway": Param(optional=True, format="ipv4"),
    "gateway6": Param(optional=True, format="ipv6"),
    "mtu": Param("integer", optional=True, minimum=1280, maximum=65520),
    "netmask": Param(optional=True, format="ipv4mask", requires="address"),
    "netmask6": Param("integer", optional=True, minimum=0, maximum=128, requires="address6"),
    "ovs_bonds": _IFACES,
    "ovs_bridge": _IFACE,
    "ovs_options": Param(optional=True, max_length=1024),
    "ovs_ports": _IFACES,
    "ovs_tag": _VLAN,
    "slaves": _IFACES,
    "vlan-id": _VLAN,
    "vlan-raw-device": _IFACE,
}
_KEPT = ("cidr", "gateway", "mtu", "bridge_ports", "bridge_vids", "comments")
"""What the lab keeps of an interface; bonds, Open vSwitch and IPv6 are taken and not acted on."""
_MODIFY = needs("/nodes/{node}", "Sys.Modify")
_BASE = "/nodes/{node}/network"


def _wanted(call: Call) -> str:
    return "bridge" if call.text("type") in ("any_bridge", "any_local_bridge") else call.text("type")


@routes.add("GET", _BASE, everyone,
            {"type": Param(optional=True, enum=_FILTERS, newer=_NEWER)})  # fmt: skip
def _list(call: Call) -> object:
    network = call.node.interfaces
    active = network.active().stanzas
    rows = []
    for order, (name, stanza) in enumerate(network.wanted().stanzas.items(), 3):
        if _wanted(call) not in ("", "include_sdn", stanza["type"]):  # the lab has no SDN to include
            continue
        if stanza["type"] == "bridge" and not call.has(
            f"/sdn/zones/localnetwork/{name}", "SDN.Audit", "SDN.Use", "SDN.Allocate"
        ):
            continue
        rows.append(interfaces.describe(name, stanza, order, active=name in active))
    if changes := network.changes():
        call.extra["changes"] = changes
    return rows


def _assign(call: Call, stanza: Stanza) -> None:
    stanza["type"] = call.text("type")
    for key in _KEPT:
        if call.given(key):
            stanza[key] = call.text(key)
    if call.given("address"):
        stanza["cidr"] = f"{call.text('address')}/{call.text('netmask')}"
    if call.given("comments"):
        stanza["comments"] = call.text("comments").rstrip("\n") + "\n"
    if call.given("autostart"):
        stanza["autostart"] = call.text("autostart")
    if call.flag("bridge_vlan_aware"):
        stanza["bridge_vlan_aware"] = "yes"


@routes.add("POST", _BASE, _MODIFY, {**_OPTIONS, "iface": URI_PARAMS["iface"]})
def _create(call: Call) -> object:
    files, name = call.node.interfaces, call.text("iface")
    with files.lock:
        network = files.wanted()
        if name in network.stanzas:
            raise bad_params({"iface": "interface already exists"})
        stanza: Stanza = {}
        if call.text("type") == "bridge":
            stanza = interfaces.bridge()
            del stanza["autostart"]
        _assign(call, stanza)
        network.stanzas[name] = stanza
        files.save(network)
    return None


@routes.add("PUT", _BASE, _MODIFY,
            {"regenerate-frr": dataclasses.replace(_FLAG, since=(9, 0))})  # fmt: skip
def _apply(call: Call) -> object:
    node = call.node

    def work(_log: Log) -> None:
        with node.interfaces.lock:
            node.interfaces.apply()

    return node.tasks.start("srvreload", "networking", call.who, work)


@routes.add("DELETE", _BASE, _MODIFY)
def _revert(call: Call) -> object:
    call.node.interfaces.revert()
    return None


@routes.add("GET", f"{_BASE}/{{iface}}", needs("/nodes/{node}", "Sys.Audit"))
def _read(call: Call) -> object:
    stanzas = call.node.interfaces.wanted().stanzas
    name = call.text("iface")
    if name not in stanzas:
        raise bad_params({"iface": "interface does not exist"})
    active = name in call.node.interfaces.active().stanzas
    row = interfaces.describe(name, stanzas[name], 3 + list(stanzas).index(name), active=active)
    del row["iface"]
    return row


@routes.add("PUT", f"{_BASE}/{{iface}}", _MODIFY,
            {**_OPTIONS, "delete": Param(optional=True, format="pve-configid-list")})  # fmt: skip
def _update(call: Call) -> object:
    files, name = call.node.interfaces, call.text("iface")
    with files.lock:
        network = files.wanted()
        if name not in network.stanzas:
            raise bad_params({"iface": "interface does not exist"})
        for key in items(call.text("delete")):
            network.stanzas[name].pop(key, None)
        _assign(call, network.stanzas[name])
        files.save(network)
    return None


@routes.add("DELETE", f"{_BASE}/{{iface}}", _MODIFY)
def _delete(call: Call) -> object:
    files, name = call.node.interfaces, call.text("iface")
    with files.lock:
        network = files.wanted()
        if name not in network.stanzas:
            raise bad_params({"iface": "interface does not exist"})
        del network.stanzas[name]
        files.save(network)
    return None
