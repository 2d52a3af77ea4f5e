"""``/nodes/{node}/services``: the node's daemons. The lab has one that matters to guests: pve-firewall."""

from __future__ import annotations

from collections.abc import Callable

from zentoria_infra.lab.api.routing import URI_PARAMS, Call, Routes, needs
from zentoria_infra.lab.runtime import Log

routes = Routes()
_BASE = "/nodes/{node}/services"
_HERE = frozenset({"pve-firewall", "pvedaemon", "pveproxy", "pvestatd", "sshd"})
"""The others that Proxmox knows are not there."""
_DESCRIPTIONS = {"pve-firewall": "Proxmox VE firewall"}


def _row(call: Call, name: str) -> dict[str, object]:
    """As PVE::API2::Services has it: ``state`` is systemd's SubState, ``active-state`` its ActiveState."""
    runs = call.node.filtering.runs if name == "pve-firewall" else name in _HERE
    return {
        "service": name,
        "name": name,
        "desc": _DESCRIPTIONS.get(name, name),
        "state": "running" if runs else "dead",
        "active-state": "active" if runs else "inactive",
        "unit-state": "enabled" if name in _HERE else "not-found",
    }


@routes.add("GET", _BASE, needs("/nodes/{node}", "Sys.Audit"))
def _services(call: Call) -> object:
    return [_row(call, name) for name in URI_PARAMS["service"].enum]


@routes.add("GET", f"{_BASE}/{{service}}/state", needs("/nodes/{node}", "Sys.Audit"))
def _state(call: Call) -> object:
    return _row(call, call.text("service"))


def _switch(verb: str) -> Callable[[Call], object]:
    def serve(call: Call) -> object:
        filtering, name = call.node.filtering, call.text("service")

        def work(_log: Log) -> None:
            if name != "pve-firewall":
                return  # the lab's other daemons are one process
            if verb != "start":
                filtering.stop()
            if verb != "stop":
                filtering.start()

        return call.node.tasks.start(f"srv{verb}", name, call.who, work)

    return serve


for _verb in ("start", "stop", "restart"):
    routes.add("POST", f"{_BASE}/{{service}}/{_verb}", needs("/nodes/{node}", "Sys.Modify"))(_switch(_verb))
