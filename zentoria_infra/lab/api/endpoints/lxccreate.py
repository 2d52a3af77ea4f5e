"""``/nodes/{node}/lxc``: the list, create, destroy."""

from __future__ import annotations

from zentoria_infra.lab.api.faults import bad_params, forbidden, internal
from zentoria_infra.lab.api.formats import CONTENT_TYPES
from zentoria_infra.lab.api.guestconf import GuestConf
from zentoria_infra.lab.api.lxc import changes, ops, rights, view, volumes
from zentoria_infra.lab.api.lxc import options as guestoptions
from zentoria_infra.lab.api.routing import Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param
from zentoria_infra.lab.runtime import Log

routes = Routes()
_FLAG = Param("boolean", optional=True)
_NOT_OPTIONS = frozenset(guestoptions.CREATE) - frozenset(guestoptions.OPTIONS)


@routes.add("GET", "/nodes/{node}/lxc")
def _list(call: Call) -> object:
    rows = []
    for vmid in call.node.guests.ids():
        if call.has(f"/vms/{vmid}", "VM.Audit"):
            row = view.status(call.node, vmid)
            if row is not None:
                rows.append(row)
    return rows


@routes.add("POST", "/nodes/{node}/lxc", everyone, guestoptions.CREATE)
def _create(call: Call) -> object:
    node, vmid = call.node, call.vmid
    options = {key: str(value) for key, value in call.values.items() if key not in _NOT_OPTIONS}
    modern = node.release.major >= 9
    unprivileged = options.pop("unprivileged", "1" if modern else "0") == "1"
    if node.guests.exists(vmid):
        raise internal(f"CT {vmid} already exists on node '{node.name}'")
    if call.flag("restore"):
        raise internal("restoring from a backup is not available in this lab")
    pool = call.text("pool") or None
    if pool is not None and pool not in node.access.config.pools:
        raise forbidden(f"pool '{pool}' does not exist")
    if not call.has(f"/vms/{vmid}", "VM.Allocate") and not (pool and call.has(f"/pool/{pool}", "VM.Allocate")):
        raise forbidden()
    if modern and not unprivileged:  # measured on 9.2; 8.4 asks for nothing
        call.check("/", "Sys.Modify")
    if call.flag("ha-managed"):
        call.check("/", "Sys.Console")
    rights.check(call, vmid, pool, None, options, unprivileged=unprivileged)
    template = call.text("ostemplate")
    _check_template(call, template)
    disks = {key: options.pop(key) for key in list(options) if guestoptions.is_volume(key)}
    if disks and "rootfs" not in disks:
        raise internal("mount points configured, but 'rootfs' not set - aborting")
    disks.setdefault("rootfs", f"{call.text('storage', 'local')}:4")
    for key in sorted(disks, key=lambda name: (name != "rootfs", name)):
        _check_disk(call, guestoptions.properties(key, disks[key])["volume"])
    for key in [name for name in options if name.startswith("unused")]:
        raise internal(f"unable to set '{key}' of a new container")
    conf = GuestConf({key: changes.normalise(key, value) for key, value in options.items()})
    if unprivileged:
        conf.options["unprivileged"] = "1"
    conf.options["lock"] = "create"
    ordered = {key: disks[key] for key in sorted(disks, key=_disk_order)}
    what = ops.Creation(vmid, template, ordered, pool)
    with node.locks.guest(vmid):
        if node.guests.exists(vmid):
            raise internal(f"CT {vmid} already exists on node '{node.name}'")
        node.guests.save(vmid, conf)
    return _start_task(call, what, start=call.flag("start"))


def _disk_order(key: str) -> tuple[int, int]:
    return (0, 0) if key == "rootfs" else (1, int(key[2:]))


def _start_task(call: Call, what: ops.Creation, *, start: bool) -> str:
    node, who = call.node, call.who

    unused = [name for name in ("password", "ssh-public-keys", "timezone") if call.given(name)]

    def work(log: Log) -> None:
        if unused:
            log(f"not set inside the container, this lab cannot: {', '.join(unused)}")
        ops.create(node, what, log)
        if start:
            node.tasks.start("vzstart", str(what.vmid), who, lambda log: ops.start(node, what.vmid, log))

    return node.tasks.start("vzcreate", str(what.vmid), who, work)


def _check_template(call: Call, template: str) -> None:
    storage, name = volumes.split(template)
    if name.partition("/")[0] not in CONTENT_TYPES or not name.startswith("vztmpl/"):
        raise internal(f"unable to parse directory volume name '{name}'")
    if not call.has(f"/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"):
        raise forbidden(f"/storage/{storage}, Datastore.AllocateSpace|Datastore.Audit")


def _check_disk(call: Call, volume: str) -> None:
    if volumes.kind(volume) != "volume":
        return
    storage = volumes.split(volume)[0]
    entry = call.node.storages.enabled(storage)
    if "rootdir" not in entry.get("content", "").split(","):
        raise bad_params({"storage": f"storage '{storage}' does not support container directories"})
    call.check(f"/storage/{storage}", "Datastore.AllocateSpace")


@routes.add(
    "DELETE",
    "/nodes/{node}/lxc/{vmid}",
    needs("/vms/{vmid}", "VM.Allocate"),
    {"force": _FLAG, "purge": _FLAG, "destroy-unreferenced-disks": _FLAG},
)
def _destroy(call: Call) -> object:
    node, vmid, force = call.node, call.vmid, call.flag("force")
    purge, unreferenced = call.flag("purge"), call.flag("destroy-unreferenced-disks")
    ops.check_destroy(node, vmid, force=force)

    def work(log: Log) -> None:
        ops.destroy(node, vmid, log, force=force, purge=purge, unreferenced=unreferenced)

    return node.tasks.start("vzdestroy", str(vmid), call.who, work)
