"""``/storage`` and ``/nodes/{node}/storage``."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from zentoria_infra.lab.api import uploads
from zentoria_infra.lab.api.endpoints.common import items
from zentoria_infra.lab.api.faults import bad_params, internal, modified
from zentoria_infra.lab.api.formats import CONTENT_TYPES
from zentoria_infra.lab.api.lxc import volumes
from zentoria_infra.lab.api.routing import URI_PARAMS, Call, Routes, everyone, needs
from zentoria_infra.lab.api.schema import Param, Schema
from zentoria_infra.lab.api.storages import TYPES, Entry, format_of
from zentoria_infra.lab.layout import LOCAL
from zentoria_infra.lab.runtime import Log, RuntimeFailure

routes = Routes()
_FLAG = Param("boolean", optional=True)
_KINDS = ("btrfs", "cephfs", "cifs", "dir", "esxi", "glusterfs", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs",
          "pbs", "rbd", "zfs", "zfspool")  # fmt: skip
_SETTINGS: Schema = {
    "content": Param(optional=True, format="pve-storage-content-list"),
    "disable": _FLAG,
    "nodes": Param(optional=True, format="pve-node-list"),
    "shared": _FLAG,
}
_ALLOCATE = needs("/storage", "Datastore.Allocate")
_SEE = needs("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", any_of=True)


def _config_row(name: str, entry: Entry, digest: str) -> dict[str, object]:
    row: dict[str, object] = {"storage": name, "digest": digest, **entry}
    for key in ("disable", "shared"):
        if key in entry:
            row[key] = int(entry[key])
    return row


@routes.add("GET", "/storage", everyone, {"type": Param(optional=True, enum=_KINDS)})
def _list(call: Call) -> object:
    digest = call.node.storages.digest
    return [
        _config_row(name, entry, digest)
        for name, entry in call.node.storages.all().items()
        if call.has(f"/storage/{name}", "Datastore.Audit", "Datastore.Allocate", "Datastore.AllocateSpace")
        and call.text("type", entry["type"]) == entry["type"]
    ]


@routes.add(
    "POST",
    "/storage",
    _ALLOCATE,
    {
        **_SETTINGS,
        "storage": URI_PARAMS["storage"],
        "type": Param(enum=_KINDS),
        "path": Param(optional=True, format="pve-storage-path"),
    },
)
def _create(call: Call) -> object:
    name, kind = call.text("storage"), call.text("type")
    if not call.given("path"):
        raise internal("missing value for required option 'path'")
    if kind not in TYPES:
        raise internal(f"create storage failed: this lab has no storages of type '{kind}'")
    with call.node.locks.file("storage.cfg"):
        entries = call.node.storages.edit()
        if name in entries:
            raise internal(f"create storage failed: storage ID '{name}' already defined")
        entries[name] = {"type": kind, "path": call.text("path"), "content": "images,rootdir"}
        _assign(call, entries[name])
        call.node.storages.save(entries)
    return {"storage": name, "type": kind}


def _assign(call: Call, entry: Entry) -> None:
    for key in _SETTINGS:
        if call.given(key):
            entry[key] = ",".join(items(call.text(key))) if key in ("content", "nodes") else call.text(key)


def _get(entries: Mapping[str, Entry], name: str) -> Entry:
    if name not in entries:
        raise internal(f"storage '{name}' does not exist")
    return entries[name]


@routes.add("GET", "/storage/{storage}", needs("/storage/{storage}", "Datastore.Allocate"))
def _read(call: Call) -> object:
    name = call.text("storage")
    return _config_row(name, _get(call.node.storages.all(), name), call.node.storages.digest)


@routes.add(
    "PUT",
    "/storage/{storage}",
    _ALLOCATE,
    {
        **_SETTINGS,
        "delete": Param(optional=True, max_length=4096, format="pve-configid-list"),
        "digest": Param(optional=True, max_length=64),
    },
)
def _update(call: Call) -> object:
    name = call.text("storage")
    with call.node.locks.file("storage.cfg"):
        if call.given("digest") and call.text("digest") != call.node.storages.digest:
            raise modified()
        entries = call.node.storages.edit()
        entry = _get(entries, name)
        for key in items(call.text("delete")):
            entry.pop(key, None)
        _assign(call, entry)
        call.node.storages.save(entries)
    return {"storage": name, "type": entry["type"]}


@routes.add("DELETE", "/storage/{storage}", _ALLOCATE)
def _delete(call: Call) -> object:
    name = call.text("storage")
    with call.node.locks.file("storage.cfg"):
        entries = call.node.storages.edit()
        if name not in entries:
            raise internal(f"delete storage failed: storage '{name}' does not exist")
        if name == LOCAL:
            raise internal(f"delete storage failed: the lab's containers are on storage '{name}'")
        del entries[name]
        call.node.storages.save(entries)
    return None


def _usage(call: Call, name: str, entry: Entry) -> dict[str, object]:
    off = entry.get("disable") == "1"
    total, free = (0, 0) if off else call.node.runtime.space()
    row: dict[str, object] = {"type": entry["type"], "content": entry.get("content", ""), "shared": 0}
    row.update(active=int(not off), enabled=int(not off), total=total, avail=free, used=total - free)
    return row


@routes.add(
    "GET",
    "/nodes/{node}/storage",
    everyone,
    {
        "content": Param(optional=True, format="pve-storage-content-list"),
        "enabled": _FLAG,
        "format": _FLAG,
        "storage": Param(optional=True, format="pve-storage-id"),
        "target": Param(optional=True, format="pve-node"),
    },
)
def _node_list(call: Call) -> object:
    rows = []
    wanted = set(items(call.text("content")))
    for name, entry in call.node.storages.all().items():
        if not call.has(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"):
            continue
        fits = not wanted or wanted & set(entry.get("content", "").split(","))
        hidden = call.flag("enabled") and entry.get("disable") == "1"
        if fits and not hidden and call.text("storage", name) == name:
            row = {"storage": name, **_usage(call, name, entry)}
            total, used = row["total"], row["used"]
            if isinstance(total, int) and isinstance(used, int) and total:
                row["used_fraction"] = used / total
            rows.append(row)
    return rows


def _known(call: Call) -> Entry:
    entry = call.node.storages.all().get(call.text("storage"))
    if entry is None:
        raise bad_params({"storage": "No such storage."})
    return entry


@routes.add("GET", "/nodes/{node}/storage/{storage}/status", _SEE)
def _status(call: Call) -> object:
    return _usage(call, call.text("storage"), _known(call))


@routes.add("GET", "/nodes/{node}/storage/{storage}", _SEE)
def _node_index(_: Call) -> object:
    return [{"subdir": name} for name in ("status", "content", "upload", "download-url", "rrd", "rrddata")]


@routes.add(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    _SEE,
    {
        "content": Param(optional=True, format="pve-storage-content"),
        "vmid": Param("integer", optional=True, minimum=100, maximum=999999999, format="pve-vmid"),
    },
)
def _content(call: Call) -> object:
    name = call.text("storage")
    entry = call.node.storages.enabled(name)
    offered = {kind for kind in entry.get("content", "").split(",") if kind in CONTENT_TYPES}
    kinds = {call.text("content")} & offered if call.given("content") else offered
    rows: list[dict[str, object]] = []
    if "vztmpl" in kinds and name == LOCAL and not call.given("vmid"):
        rows += [_template_row(call, file, size) for file, size in sorted(call.node.runtime.templates().items())]
    if "rootdir" in kinds:
        for volid, size in sorted(call.node.runtime.volumes().items()):
            storage, volume = volumes.split(volid)
            vmid = volumes.owner(volume) if storage == name else None
            if vmid is not None and call.text("vmid", str(vmid)) == str(vmid) and _may_see(call, name, vmid):
                row = {"volid": volid, "content": "rootdir", "format": format_of(volume), "size": size}
                ctime = _ctime(call, call.node.layout.images(name) / volume)
                rows.append({**row, "vmid": vmid, "used": size, "parent": None, "ctime": ctime})
    return rows


_ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_TEMPLATE = re.compile(r"[^/]+\.tar\.(gz|xz|zst|bz2)")


@routes.add(
    "POST",
    "/nodes/{node}/storage/{storage}/upload",
    needs("/storage/{storage}", "Datastore.AllocateTemplate"),
    {
        "content": Param(enum=("iso", "vztmpl", "import"), format="pve-storage-content"),
        "filename": Param(max_length=255),
        "checksum": Param(optional=True, requires="checksum-algorithm"),
        "checksum-algorithm": Param(optional=True, enum=_ALGORITHMS, requires="checksum"),
        "tmpfilename": Param(optional=True, pattern=uploads.PATTERN),
    },
)
def _upload(call: Call) -> object:
    storage, node = call.text("storage"), call.node
    node.storages.enabled(storage)
    if call.text("content") != "vztmpl" or storage != LOCAL:
        raise internal(f"this lab takes templates alone, and on storage '{LOCAL}'")
    # Proxmox's normalisation (normalize_content_filename of PVE::Storage)
    name = re.sub(r"[^-a-zA-Z0-9_.]", "_", PurePosixPath(call.text("filename")).name)
    if not _TEMPLATE.fullmatch(name):
        raise bad_params({"filename": "wrong file extension"})
    source = uploads.file_of(node.layout, call.text("tmpfilename"))
    if not call.given("tmpfilename") or not source.is_file():
        raise internal("missing temporary file name")
    target = node.layout.storage / "template" / "cache" / name
    algorithm, wanted = call.text("checksum-algorithm"), call.text("checksum").lower()

    def work(log: Log) -> None:
        try:
            if algorithm:
                with source.open("rb") as stream:
                    got = hashlib.file_digest(stream, algorithm).hexdigest()
                if got != wanted:
                    raise RuntimeFailure(f"checksum mismatch: got '{got}' != expect '{wanted}'")
                log("calculating checksum...OK, checksum verified")
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            log(f"target file: {target}")
            log("finished file import successfully")
        finally:
            source.unlink(missing_ok=True)

    return node.tasks.start("imgcopy", "", call.who, work)


def _may_see(call: Call, storage: str, vmid: int) -> bool:
    """Whether a volume of a guest is in a list (PVE::Storage::check_volume_access, without a guest that asks)."""
    if call.has(f"/storage/{storage}", "Datastore.Allocate"):
        return True
    return call.has(f"/storage/{storage}", "Datastore.Audit") and call.has(f"/vms/{vmid}", "VM.Config.Disk")


def _ctime(call: Call, path: Path) -> int:
    return int(path.stat().st_mtime) if path.exists() else int(call.node.started)


def _template_row(call: Call, file: str, size: int) -> dict[str, object]:
    form = {"gz": "tgz", "zst": "tzst", "xz": "txz"}.get(file.rpartition(".")[2], "tar")
    row: dict[str, object] = {"volid": f"{LOCAL}:vztmpl/{file}", "content": "vztmpl", "format": form, "size": size}
    return {**row, "ctime": _ctime(call, call.node.layout.storage / "template/cache" / file)}


def _volid(call: Call) -> str:
    text = call.text("volume")
    volid = text if ":" in text else f"{call.text('storage', LOCAL)}:{text}"
    storage, name = volumes.split(volid)
    if call.given("storage") and storage != call.text("storage"):
        raise bad_params({"storage": f"wrong storage name '{call.text('storage')}', expected '{storage}'"})
    vmid = volumes.owner(name)
    if vmid is None or not call.has(f"/vms/{vmid}", "VM.Config.Disk"):
        wanted = ("Datastore.Allocate",) if call.raw.get("delay") else ("Datastore.AllocateSpace", "Datastore.Allocate")
        call.rights.check_any(call.who, f"/storage/{storage}", *wanted)
    return volid


_OPTIONAL_STORAGE = Param(optional=True, format="pve-storage-id")
_VOLUME = "/nodes/{node}/storage/{storage}/content/{volume*}"


@routes.add("GET", _VOLUME, everyone, {"storage": _OPTIONAL_STORAGE})
def _volume(call: Call) -> object:
    volid = _volid(call)
    size = volumes.size_of(call.node, volid)
    if size is None:
        raise internal(f"volume_size_info on '{volid}' failed - no format")
    return {"path": volumes.path_of(call.node, volid), "size": size, "used": size, "format": format_of(volid)}


@routes.add("DELETE", _VOLUME, everyone, {"storage": _OPTIONAL_STORAGE,
            "delay": Param("integer", optional=True, minimum=1, maximum=30)})  # fmt: skip
def _free(call: Call) -> object:
    volid = _volid(call)
    storage, name = volumes.split(volid)
    vmid = volumes.owner(name)
    if vmid is not None and call.node.guests.exists(vmid) and volid in volumes.named_in(call.node.guests.get(vmid)):
        raise internal(f"cannot remove volume '{volid}': it is used by CT {vmid}")
    began = time.time()

    def work(log: Log) -> None:
        if name.startswith("vztmpl/"):
            (call.node.layout.storage / "template" / "cache" / name.removeprefix("vztmpl/")).unlink(missing_ok=True)
        else:
            volumes.free(call.node, volid)
        log(f"Removed volume '{volid}' after {time.time() - began:.1f} s")

    return call.node.tasks.start("imgdel", f"{vmid}@{storage}" if vmid else storage, call.who, work)
