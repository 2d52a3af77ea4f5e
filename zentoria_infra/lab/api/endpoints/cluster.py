"""``/cluster``: resources, status, next free number; and ``/nodes``."""

from __future__ import annotations

import os
import time

import psutil

from zentoria_infra.lab.api.faults import bad_params
from zentoria_infra.lab.api.lxc import view
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.routing import Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param

routes = Routes()


@routes.add("GET", "/cluster")
def _index(_: Call) -> object:
    return [{"name": name} for name in ("resources", "nextid", "status", "tasks", "firewall", "options")]


def _node_row(call: Call) -> dict[str, object]:
    name = call.node.name
    row: dict[str, object] = {"node": name, "type": "node", "id": f"node/{name}", "status": "online", "level": ""}
    return row


def _load(call: Call) -> dict[str, object]:
    memory, disk = psutil.virtual_memory(), call.node.runtime.space()
    return {
        "cpu": psutil.cpu_percent(interval=None) / 100,
        "maxcpu": os.cpu_count() or 1,
        "mem": memory.total - memory.available,
        "maxmem": memory.total,
        "disk": disk[0] - disk[1],
        "maxdisk": disk[0],
        "uptime": int(time.time() - psutil.boot_time()),
    }


@routes.add("GET", "/cluster/resources", everyone,
            {"type": Param(optional=True, enum=("vm", "storage", "node", "sdn"))})  # fmt: skip
def _resources(call: Call) -> object:
    node, kind = call.node, call.text("type")
    rows: list[dict[str, object]] = []
    if kind in ("", "vm"):
        config = node.access.config
        for vmid in node.guests.ids():
            if not call.has(f"/vms/{vmid}", "VM.Audit"):
                continue
            row = view.resource(node, vmid)
            pool = config.pool_of(vmid)
            if row is not None:
                rows.append({**row, "pool": pool} if pool and call.has(f"/pool/{pool}", "Pool.Audit") else row)
    if kind in ("", "node"):
        load = _load(call) if call.has(f"/nodes/{node.name}", "Sys.Audit") else {}
        arch = {"host-arch": os.uname().machine} if node.release.number >= (9, 2) else {}
        rows.append({**_node_row(call), "cgroup-mode": 2, **arch, **load})
    if kind in ("", "storage"):
        total, free = node.runtime.space()
        for name, entry in node.storages.all().items():
            if call.has(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"):
                off = entry.get("disable") == "1"
                row = {"id": f"storage/{node.name}/{name}", "type": "storage", "storage": name, "node": node.name}
                row.update(status="unavailable" if off else "available", plugintype=entry["type"], shared=0)
                row.update(content=entry.get("content", ""), disk=total - free, maxdisk=total)
                rows.append(row)
    if kind in ("", "sdn") and call.has("/sdn/zones/localnetwork", "SDN.Audit", "SDN.Use", "SDN.Allocate"):
        rows.append({**_zone_row(node), "node": node.name, "status": "ok"})
    return rows


def _zone_row(node: Node) -> dict[str, object]:
    zone = "localnetwork"
    if node.release.major < 9:
        return {"id": f"sdn/{node.name}/{zone}", "type": "sdn", "sdn": zone}
    row: dict[str, object] = {"id": f"network/{node.name}/zone/{zone}", "type": "network", "network": zone}
    return {**row, "network-type": "zone"}


@routes.add("GET", "/cluster/nextid", everyone,
            {"vmid": Param("integer", optional=True, minimum=100, maximum=999999999, format="pve-vmid")})  # fmt: skip
def _nextid(call: Call) -> object:
    if call.given("vmid"):
        if call.node.guests.exists(call.vmid):
            raise bad_params({"vmid": f"VM {call.vmid} already exists"})
        return str(call.vmid)
    taken = set(call.node.guests.ids())
    return str(next(vmid for vmid in range(100, 1000000) if vmid not in taken))


@routes.add("GET", "/cluster/status", needs("/", "Sys.Audit"))
def _status(call: Call) -> object:
    name = call.node.name
    row: dict[str, object] = {"type": "node", "id": f"node/{name}", "name": name, "nodeid": 0, "online": 1, "local": 1}
    return [{**row, "level": "", "ip": "127.0.0.1"}]


@routes.add("GET", "/nodes")
def _nodes(call: Call) -> object:
    row = _node_row(call)
    if call.node.fingerprint:
        row["ssl_fingerprint"] = call.node.fingerprint
    return [{**row, **_load(call)} if call.has(f"/nodes/{call.node.name}", "Sys.Audit") else row]


@routes.add("GET", "/nodes/{node}")
def _node(_: Call) -> object:
    names = ("lxc", "tasks", "status", "network", "storage", "firewall", "version", "time", "aplinfo")
    return [{"name": name} for name in names]


@routes.add("GET", "/nodes/{node}/time", needs("/nodes/{node}", "Sys.Audit"))
def _time(_: Call) -> object:
    now = int(time.time())
    return {"time": now, "localtime": now + time.localtime(now).tm_gmtoff, "timezone": "Etc/UTC"}


@routes.add("GET", "/nodes/{node}/status", needs("/nodes/{node}", "Sys.Audit"))
def _node_status(call: Call) -> object:
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), call.node.runtime.space()
    system = os.uname()
    modern = {"available": memory.available} if call.node.release.major >= 9 else {}
    return {
        "uptime": int(time.time() - psutil.boot_time()),
        "cpu": psutil.cpu_percent(interval=None) / 100,
        "wait": 0,
        "idle": 0,
        "loadavg": [f"{value:.2f}" for value in psutil.getloadavg()],
        "memory": {"total": memory.total, "free": memory.available, "used": memory.total - memory.available, **modern},
        "swap": {"total": swap.total, "free": swap.free, "used": swap.used},
        "rootfs": {"total": disk[0], "avail": disk[1], "free": disk[1], "used": disk[0] - disk[1]},
        "cpuinfo": {"cpus": os.cpu_count() or 1, "sockets": 1, "cores": psutil.cpu_count(logical=False) or 1},
        "kversion": f"{system.sysname} {system.release} {system.version}",
        "current-kernel": {
            "sysname": system.sysname,
            "release": system.release,
            "version": system.version,
            "machine": system.machine,
        },
        "pveversion": f"pve-manager/{call.node.release.version}/{call.node.release.repoid}",
        "boot-info": {"mode": "efi"},
        "ksm": {"shared": 0},
    }


@routes.add("GET", "/nodes/{node}/aplinfo")
def _appliances(_: Call) -> object:
    return []
