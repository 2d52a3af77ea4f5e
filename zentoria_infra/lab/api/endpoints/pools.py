"""``/pools``."""

from __future__ import annotations

from zentoria_infra.lab.api.auth.usercfg import Pool, UserConfig
from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.lxc import view
from zentoria_infra.lab.api.routing import URI_PARAMS, Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param, Schema

routes = Routes()
_FLAG = Param("boolean", optional=True)
_POOL = URI_PARAMS["poolid"]
_KINDS = ("qemu", "lxc", "storage")
_ALLOCATE = needs("/pool/{poolid}", "Pool.Allocate")
_UPDATE: Schema = {
    "allow-move": _FLAG,
    "comment": Param(optional=True),
    "delete": _FLAG,
    "storage": Param(optional=True, format="pve-storage-id-list"),
    "vms": Param(optional=True, format="pve-vmid-list"),
}


def _get(config: UserConfig, name: str, what: str = "") -> Pool:
    if name not in config.pools:
        raise internal(f"{what}pool '{name}' does not exist")
    return config.pools[name]


def _row(name: str, pool: Pool) -> dict[str, object]:
    row: dict[str, object] = {"poolid": name}
    return {**row, "comment": pool.comment} if pool.comment else row


def _members(call: Call, pool: Pool) -> list[dict[str, object]]:
    node = call.node
    rows: list[dict[str, object]] = []
    if call.text("type", "lxc") == "lxc":
        found = [view.resource(node, vmid) for vmid in sorted(pool.vms) if node.guests.exists(vmid)]
        rows = [row for row in found if row is not None]
    if call.text("type", "storage") == "storage":
        for name in sorted(pool.storages):
            row: dict[str, object] = {"id": f"storage/{node.name}/{name}", "type": "storage", "storage": name}
            rows.append({**row, "node": node.name, "status": "available"})
    return rows


@routes.add("GET", "/pools", everyone,
            {"poolid": Param(optional=True, format="pve-poolid"),
             "type": Param(optional=True, enum=_KINDS, requires="poolid")})  # fmt: skip
def _list(call: Call) -> object:
    config = call.node.access.config
    if call.given("poolid"):
        name = call.text("poolid")
        call.check(f"/pool/{name}", "Pool.Audit")
        pool = _get(config, name)
        return [{**_row(name, pool), "members": _members(call, pool)}]
    visible = (name for name in sorted(config.pools) if call.has(f"/pool/{name}", "Pool.Audit"))
    return [_row(name, config.pools[name]) for name in visible]


@routes.add("POST", "/pools", _ALLOCATE, {"poolid": _POOL, "comment": Param(optional=True)})
def _create(call: Call) -> object:
    name = call.text("poolid")
    if call.node.release.major >= 9 and not all(level[:1].isalpha() for level in name.split("/")):
        raise internal("create pool failed: pool name must start with a letter")
    with call.node.access.change() as config:
        if name in config.pools:
            raise internal(f"create pool failed: pool '{name}' already exists")
        parent = name.rpartition("/")[0]
        if parent and parent not in config.pools:
            raise internal(f"create pool failed: parent '{parent}' of pool '{name}' does not exist")
        config.pools[name] = Pool(call.text("comment"))
    return None


@routes.add("GET", "/pools/{poolid}", needs("/pool/{poolid}", "Pool.Audit"),
            {"type": Param(optional=True, enum=_KINDS)})  # fmt: skip
def _read(call: Call) -> object:
    name = call.text("poolid")
    pool = _get(call.node.access.config, name)
    return {**_row(name, pool), "members": _members(call, pool)}


def _update(call: Call) -> object:
    name = call.text("poolid")
    vms, storages = [int(item) for item in items(call.text("vms"))], items(call.text("storage"))
    for vmid in vms:
        call.check(f"/vms/{vmid}", "VM.Allocate")
    with call.node.access.change() as config:
        pool = _get(config, name, "update pool failed: ")
        if call.given("comment"):
            pool.comment = call.text("comment")
        if call.flag("delete"):
            for vmid in vms:
                if vmid not in pool.vms:
                    raise internal(f"update pool failed: VM {vmid} is not a pool member")
            pool.vms -= set(vms)
            pool.storages -= set(storages)
            return None
        for vmid in vms:
            other = config.pool_of(vmid)
            if other == name:
                raise internal(f"update pool failed: VM {vmid} is already a pool member")
            if other and not call.flag("allow-move"):
                raise internal(f"update pool failed: VM {vmid} belongs already to pool '{other}'")
            if other:
                config.pools[other].vms.discard(vmid)
        pool.vms |= set(vms)
        pool.storages |= set(storages)
    return None


def _delete(call: Call) -> object:
    name = call.text("poolid")
    with call.node.access.change() as config:
        pool = _get(config, name, "delete pool failed: ")
        present = [vmid for vmid in sorted(pool.vms) if call.node.guests.exists(vmid)]
        if present:
            raise internal(f"delete pool failed: pool '{name}' is not empty (contains VM {present[0]})")
        if below := [other for other in sorted(config.pools) if other.startswith(f"{name}/")]:
            raise internal(f"delete pool failed: pool '{name}' is not empty (contains pool '{below[0]}')")
        if pool.storages:
            first = min(pool.storages)
            raise internal(f"delete pool failed: pool '{name}' is not empty (contains storage {first})")
        del config.pools[name]
    return None


routes.add("PUT", "/pools", _ALLOCATE, {**_UPDATE, "poolid": _POOL})(_update)
routes.add("PUT", "/pools/{poolid}", _ALLOCATE, _UPDATE)(_update)
routes.add("DELETE", "/pools", _ALLOCATE, {"poolid": _POOL})(_delete)
routes.add("DELETE", "/pools/{poolid}", _ALLOCATE)(_delete)
