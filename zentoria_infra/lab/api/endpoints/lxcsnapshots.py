"""``/nodes/{node}/lxc/{vmid}/snapshot`` and ``feature`` (PVE::API2::LXC::Snapshot)."""

from __future__ import annotations

from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.guests import check_lock
from zentoria_infra.lab.api.lxc import ops, snapshots, view
from zentoria_infra.lab.api.routing import Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param
from zentoria_infra.lab.runtime import Log

routes = Routes()
_BASE = "/nodes/{node}/lxc/{vmid}"
_LIST = f"{_BASE}/snapshot"
_ONE = f"{_LIST}/{{snapname}}"
_AUDIT = needs("/vms/{vmid}", "VM.Audit")
_SNAPSHOT = needs("/vms/{vmid}", "VM.Snapshot")
_ROLLBACK = needs("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback", any_of=True)
_READ = needs("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit", any_of=True)
_DESCRIPTION = Param(optional=True)


@routes.add("GET", f"{_BASE}/feature", _AUDIT,
            {"feature": Param(enum=("snapshot", "clone", "copy")),
             "snapname": Param(optional=True, max_length=40, format="pve-configid")})  # fmt: skip
def _feature(call: Call) -> object:
    conf = call.node.guests.get(call.vmid)
    return {"hasFeature": int(snapshots.feature(call.node, conf, call.text("feature"), call.text("snapname")))}


@routes.add("GET", _LIST, _AUDIT)
def _rows(call: Call) -> object:
    conf = call.node.guests.get(call.vmid)
    return snapshots.rows(conf, live=ops.running(call.node, call.vmid))


@routes.add("POST", _LIST, _SNAPSHOT,
            {"snapname": Param(max_length=40, format="pve-configid"), "description": _DESCRIPTION})  # fmt: skip
def _create(call: Call) -> object:
    node, vmid, name, description = call.node, call.vmid, call.text("snapname"), call.text("description")
    if name in snapshots.RESERVED:
        raise internal(f"unable to use snapshot name '{name}' (reserved name)")
    return node.tasks.start(
        "vzsnapshot", str(vmid), call.who, lambda log: snapshots.create(node, vmid, name, description, log)
    )


@routes.add("GET", _ONE, everyone)
def _index(_: Call) -> object:
    return [{"cmd": "rollback"}, {"cmd": "config"}]


@routes.add("DELETE", _ONE, _SNAPSHOT, {"force": Param("boolean", optional=True)})
def _delete(call: Call) -> object:
    node, vmid, name, force = call.node, call.vmid, call.text("snapname"), call.flag("force")
    return node.tasks.start(
        "vzdelsnapshot", str(vmid), call.who, lambda log: snapshots.delete(node, vmid, name, log, force=force)
    )


@routes.add("GET", f"{_ONE}/config", _READ)
def _read(call: Call) -> object:
    return view.section(snapshots.find(call.node.guests.get(call.vmid), call.text("snapname")))


@routes.add("PUT", f"{_ONE}/config", _SNAPSHOT, {"description": _DESCRIPTION})
def _describe(call: Call) -> object:
    node, vmid = call.node, call.vmid
    if call.given("description"):
        with node.locks.guest(vmid):
            conf = node.guests.edit(vmid)
            check_lock(conf)
            snapshots.find(conf, call.text("snapname"))["description"] = call.text("description")
            node.guests.save(vmid, conf)
    return None


@routes.add("POST", f"{_ONE}/rollback", _ROLLBACK, {"start": Param("boolean", optional=True)})
def _rollback(call: Call) -> object:
    node, vmid, name, who, start = call.node, call.vmid, call.text("snapname"), call.who, call.flag("start")

    def work(log: Log) -> None:
        snapshots.rollback(node, vmid, name, log)
        if start:
            node.tasks.start("vzstart", str(vmid), who, lambda log: ops.start(node, vmid, log))

    return node.tasks.start("vzrollback", str(vmid), who, work)
