"""``/nodes/{node}/lxc/{vmid}/status``: what a container does now, and making it do something else."""

from __future__ import annotations

from collections.abc import Callable

from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.lxc import ops, view
from zentoria_infra.lab.api.routing import Call, Routes, needs
from zentoria_infra.lab.api.schema import Param
from zentoria_infra.lab.runtime import Log, RuntimeFailure

routes = Routes()
_POWER = needs("/vms/{vmid}", "VM.PowerMgmt")
_BASE = "/nodes/{node}/lxc/{vmid}/status"
_FLAG = Param("boolean", optional=True)
_TIMEOUT = Param("integer", optional=True, minimum=0)


@routes.add("GET", _BASE)
def _index(call: Call) -> object:
    call.node.guests.get(call.vmid)
    return [{"subdir": name} for name in ("current", "start", "stop", "shutdown", "reboot", "migrate")]


@routes.add("GET", f"{_BASE}/current", needs("/vms/{vmid}", "VM.Audit"))
def _current(call: Call) -> object:
    call.node.guests.get(call.vmid)
    row = view.status(call.node, call.vmid)
    return {**row, "ha": {"managed": 0}} if row is not None else None


def _task(call: Call, kind: str, work: Callable[[Log], None]) -> str:
    return call.node.tasks.start(kind, str(call.vmid), call.who, work)


def _check_running(call: Call, what: str = "CT") -> None:
    call.node.guests.get(call.vmid)
    if not ops.running(call.node, call.vmid):
        raise internal(f"{what} {call.vmid} not running")


def _check_skiplock(call: Call) -> None:
    if call.flag("skiplock") and not call.is_root:
        raise internal("Only root may use this option.")


@routes.add("POST", f"{_BASE}/start", _POWER, {"debug": _FLAG, "skiplock": _FLAG})
def _start(call: Call) -> object:
    node, vmid = call.node, call.vmid
    node.guests.get(vmid)
    _check_skiplock(call)
    if ops.running(node, vmid):
        raise internal(f"CT {vmid} already running")
    return _task(call, "vzstart", lambda log: ops.start(node, vmid, log))


@routes.add("POST", f"{_BASE}/stop", _POWER, {"skiplock": _FLAG, "overrule-shutdown": _FLAG})
def _stop(call: Call) -> object:
    node, vmid = call.node, call.vmid
    _check_skiplock(call)
    _check_running(call)
    return _task(call, "vzstop", lambda log: ops.stop(node, vmid, log))


@routes.add("POST", f"{_BASE}/shutdown", _POWER, {"timeout": _TIMEOUT, "forceStop": _FLAG})
def _shutdown(call: Call) -> object:
    node, vmid = call.node, call.vmid
    _check_running(call)
    timeout, force = call.number("timeout", 60), call.flag("forceStop")
    return _task(call, "vzshutdown", lambda log: ops.shutdown(node, vmid, timeout, force, log))


@routes.add("POST", f"{_BASE}/reboot", _POWER, {"timeout": _TIMEOUT})
def _reboot(call: Call) -> object:
    node, vmid = call.node, call.vmid
    _check_running(call, "VM")
    timeout = call.number("timeout", ops.REBOOT_TIMEOUT)
    return _task(call, "vzreboot", lambda log: ops.reboot(node, vmid, timeout, log))


def _checkpoint(call: Call, kind: str, flags: str) -> str:
    vmid = call.vmid

    def work(_log: Log) -> None:
        raise RuntimeFailure(f"command 'lxc-checkpoint -n {vmid} {flags} -D /var/lib/vz/dump' failed: exit code 1")

    return _task(call, kind, work)


@routes.add("POST", f"{_BASE}/suspend", _POWER)
def _suspend(call: Call) -> object:
    _check_running(call)
    return _checkpoint(call, "vzsuspend", "-s")


@routes.add("POST", f"{_BASE}/resume", _POWER)
def _resume(call: Call) -> object:
    call.node.guests.get(call.vmid)
    return _checkpoint(call, "vzresume", "-r --foreground")
