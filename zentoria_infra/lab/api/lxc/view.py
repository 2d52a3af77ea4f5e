"""Containers as the API shows them: status rows, configuration, pending changes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from zentoria_infra.lab.api.faults import Fault
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.lxc import options as guestoptions
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.schema import lookup


def typed(name: str, value: str) -> object:
    """A value as Proxmox answers it: integers and booleans are numbers, everything else is text."""
    found = lookup(guestoptions.OPTIONS, name)
    numeric = name == "snaptime" or (found is not None and found.type in ("integer", "boolean"))
    return int(value) if numeric and re.fullmatch(r"[+-]?\d+", value) else value


def config(conf: GuestConf, *, current: bool) -> dict[str, object]:
    """The configuration; ``current`` leaves out what is pending."""
    return {**section(conf.options if current else conf.wanted()), "digest": conf.digest}


def section(options: Mapping[str, str]) -> dict[str, object]:
    """Options of the configuration or of one of its snapshots."""
    return {name: typed(name, value) for name, value in options.items()}


def pending(conf: GuestConf) -> list[dict[str, object]]:
    """What holds and what waits, option by option."""
    rows: list[dict[str, object]] = []
    for name in sorted({*conf.options, *conf.pending, *conf.delete}):
        row: dict[str, object] = {"key": name}
        if name in conf.options:
            row["value"] = typed(name, conf.options[name])
        if name in conf.delete:
            row["delete"] = 2 if conf.delete[name] else 1
        elif name in conf.pending:
            row["pending"] = typed(name, conf.pending[name])
        rows.append(row)
    return [*rows, {"key": "digest", "value": conf.digest}]


_PRESSURE = tuple(f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("full", "some"))


def _disk_size(options: Mapping[str, str]) -> int:
    size = guestoptions.properties("rootfs", options.get("rootfs", "")).get("size") if options.get("rootfs") else None
    return guestoptions.parse_size(size) if size else 0


def status(node: Node, vmid: int) -> dict[str, object] | None:
    """A container's row in lists and ``status/current``; None when it has just gone."""
    try:
        options = node.guests.get(vmid).options
    except Fault:
        return None
    now = node.runtime.status(vmid)
    cores: object = options.get("cpulimit") or int(options.get("cores", "0")) or os.cpu_count() or 1
    row: dict[str, object] = {
        "vmid": vmid,
        "type": "lxc",
        "name": options.get("hostname", f"CT{vmid}"),
        "status": "running" if now.running else "stopped",
        "cpus": cores,
        "maxmem": int(options.get("memory", "512")) << 20,
        "maxswap": int(options.get("swap", "0")) << 20,
        "maxdisk": (now.maxdisk if now.running else 0) or _disk_size(options),
        "disk": now.disk if now.running else 0,
        "uptime": now.uptime,
        "cpu": now.cpu,
        "mem": now.mem,
        "swap": now.swap,
        "netin": now.netin,
        "netout": now.netout,
        "diskread": now.diskread,
        "diskwrite": now.diskwrite,
    }
    if now.running and now.pid:
        row["pid"] = now.pid
    for name in ("lock", "tags"):
        if options.get(name):
            row[name] = options[name]
    if options.get("template") == "1":
        row["template"] = 1
    if node.release.major >= 9:
        row.update(dict.fromkeys(_PRESSURE))  # as on a node whose kernel does not tell
    return row


def resource(node: Node, vmid: int) -> dict[str, object] | None:
    """A container's row in ``/cluster/resources`` and among a pool's members."""
    row = status(node, vmid)
    if row is None:
        return None
    cpus = row.pop("cpus")
    row["maxcpu"] = float(cpus) if isinstance(cpus, str) else cpus
    for name in ("maxswap", "swap", "pid", *_PRESSURE):
        row.pop(name, None)
    if node.release.major >= 9:
        row["memhost"] = 0
    return {**row, "id": f"lxc/{vmid}", "node": node.name, "template": row.get("template", 0)}
