"""``/nodes/{node}/lxc/{vmid}``: configuration, sizes of disks, interfaces."""

from __future__ import annotations

from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import Fault, bad_params, internal, modified
from zentoria_infra.lab.api.guests import check_lock
from zentoria_infra.lab.api.lxc import changes, options, rights, snapshots, view, volumes
from zentoria_infra.lab.api.lxc.ops import running
from zentoria_infra.lab.api.routing import Call, Routes, needs
from zentoria_infra.lab.api.schema import MISSING, Param
from zentoria_infra.lab.runtime import Log

routes = Routes()
_AUDIT = needs("/vms/{vmid}", "VM.Audit")
_CHANGE = needs(
    "/vms/{vmid}",
    "VM.Config.Disk",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    any_of=True,
)
_SNAPSHOT = Param(optional=True, max_length=40, format="pve-configid")
_PARTS = (
    *("config", "pending", "status", "vncproxy", "termproxy", "vncwebsocket", "spiceproxy", "migrate", "clone"),
    *("rrd", "rrddata", "firewall", "snapshot", "resize", "interfaces"),
)
_NOT_OPTIONS = frozenset({"node", "vmid", "digest", "delete", "revert"})


@routes.add("GET", "/nodes/{node}/lxc/{vmid}")
def _index(call: Call) -> object:
    call.node.guests.get(call.vmid)
    return [{"subdir": name} for name in _PARTS]


@routes.add("GET", "/nodes/{node}/lxc/{vmid}/config", _AUDIT,
            {"current": Param("boolean", optional=True), "snapshot": _SNAPSHOT})  # fmt: skip
def _read(call: Call) -> object:
    conf = call.node.guests.get(call.vmid)
    if call.given("snapshot"):
        snapshot = snapshots.find(conf, call.text("snapshot"))
        return {**view.section(snapshot), "digest": conf.digest}
    return view.config(conf, current=call.flag("current"))


@routes.add("GET", "/nodes/{node}/lxc/{vmid}/pending", _AUDIT)
def _pending(call: Call) -> object:
    return view.pending(call.node.guests.get(call.vmid))


@routes.add("PUT", "/nodes/{node}/lxc/{vmid}/config", _CHANGE, options.UPDATE)
def _update(call: Call) -> object:
    node, vmid = call.node, call.vmid
    new = {key: str(value) for key, value in call.values.items() if key not in _NOT_OPTIONS}
    delete, revert = items(call.text("delete")), items(call.text("revert"))
    if not new and not delete and not revert:
        raise internal("no options specified")
    changes.check_unknown("delete", delete)
    for name in delete:
        if name in new:
            raise bad_params({"delete": f"you can't use '-{name}' and -delete {name}' at the same time"})
    changes.check_unknown("revert", revert)
    old = node.guests.get(vmid)
    unprivileged = old.options.get("unprivileged") == "1"
    rights.check(call, vmid, None, old.options, new, [*delete, *revert], unprivileged=unprivileged)
    with node.locks.guest(vmid):
        conf = node.guests.edit(vmid)
        check_lock(conf)
        if call.given("digest") and call.text("digest") != conf.digest:
            raise modified()
        changes.stage(conf, vmid, new, delete, revert)
        live = running(node, vmid)
        log = _Quiet()
        change = changes.hotplug if live else changes.apply_pending
        errors = change(node, vmid, conf, log)
        node.guests.save(vmid, conf)
        if errors:
            raise bad_params(errors)
        if not live and "arch" not in conf.options:
            raise internal("missing 'arch' - internal error at /usr/share/perl5/PVE/LXC.pm line 676.")
    return None


class _Quiet:
    """A log for work outside a task; nobody reads it."""

    def __call__(self, line: str) -> None:
        """Take a line."""


@routes.add(
    "PUT",
    "/nodes/{node}/lxc/{vmid}/resize",
    needs("/vms/{vmid}", "VM.Config.Disk", any_of=True),
    {name: param for name, param in options.RESIZE.items() if name not in ("node", "vmid")},
)
def _resize(call: Call) -> object:
    node, vmid, disk = call.node, call.vmid, call.text("disk")
    conf = node.guests.get(vmid)
    if not call.is_root:
        call.check(f"/vms/{vmid}", "VM.Config.Options")
    check_lock(conf)
    if call.given("digest") and call.text("digest") != conf.digest:
        raise modified()
    if disk not in conf.options:
        raise Fault(
            500, "format error", {"volume": MISSING, "mp": MISSING} if disk != "rootfs" else {"volume": MISSING}
        )
    parts = options.properties(disk, conf.options[disk])
    if volumes.kind(parts["volume"]) != "volume":
        raise internal(f"can't resize mount point owned by another container or a bind mount ({disk})")
    storage = volumes.split(parts["volume"])[0]
    call.check(f"/storage/{storage}", "Datastore.AllocateSpace")
    before = volumes.size_of(node, parts["volume"])
    if before is None:
        raise internal(f"volume '{parts['volume']}' does not exist")
    wanted = call.text("size")
    size = options.parse_size(wanted.lstrip("+")) + (before if wanted.startswith("+") else 0)
    if size < before:
        raise internal("unable to shrink disk size")
    if size == before:
        raise internal("disk is already at specified size")

    def work(log: Log) -> None:
        with node.locks.guest(vmid):
            changed = node.guests.edit(vmid)
            check_lock(changed)
            node.runtime.grow(vmid, disk, parts["volume"], size)
            log("Image resized.")
            now = {**options.properties(disk, changed.options[disk]), "size": options.format_size(size)}
            changed.options[disk] = options.join_properties(disk, now)
            node.guests.save(vmid, changed)

    return node.tasks.start("resize", str(vmid), call.who, work)


@routes.add("GET", "/nodes/{node}/lxc/{vmid}/interfaces", _AUDIT)
def _interfaces(call: Call) -> object:
    call.node.guests.get(call.vmid)
    if not running(call.node, call.vmid):
        return None
    rows = []
    for found in call.node.runtime.interfaces(call.vmid):
        addresses = [("inet", text) for text in found.inet] + [("inet6", text) for text in found.inet6]
        row: dict[str, object] = {
            "name": found.name,
            "hwaddr": found.hwaddr,
            "hardware-address": found.hwaddr,
            "ip-addresses": [
                {"ip-address": text.partition("/")[0], "prefix": text.partition("/")[2], "ip-address-type": kind}
                for kind, text in addresses
            ],
        }
        for kind, texts in (("inet", found.inet), ("inet6", found.inet6)):
            if texts:
                row[kind] = texts[0]
        rows.append(row)
    return rows
