"""Reading the world. This type holds a function that can only GET: it has no way to write."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zentoria_infra.errors import ApiError
from zentoria_infra.plan.model.snapshots import Snapshot
from zentoria_infra.proxmox import records
from zentoria_infra.proxmox.connection import Reader
from zentoria_infra.proxmox.errors import AlreadyExistsError


class Observer:
    """Read-only view of a Proxmox server. Every method is one call, unless it says otherwise.

    Errors: those of :class:`~zentoria_infra.proxmox.connection.Connection`. Lists are filtered by the caller's
    rights and not refused: what the token may not see is not in them.

    Args:
        read: GET, from :meth:`~zentoria_infra.proxmox.connection.Connection.reader`.
        node: the node meant when a method is not told another.
    """

    def __init__(self, read: Reader, node: str) -> None:
        self._read = read
        self.node = node

    def version(self) -> records.Version:
        """Version of the server; any valid credentials may ask."""
        raw = self._read("/version")
        return records.Version(str(raw.get("version", "")), str(raw.get("release", "")))

    def node_names(self) -> tuple[str, ...]:
        """All nodes of the cluster, sorted."""
        return tuple(sorted(str(raw["node"]) for raw in self._read("/nodes")))

    def node_status(self, node: str | None = None) -> records.NodeStatus:
        """Processors, memory and load of a node. Needs Sys.Audit on it."""
        name = node or self.node
        raw = self._read("/nodes/{node}/status", node=name)
        memory, rootfs = raw.get("memory") or {}, raw.get("rootfs") or {}
        return records.NodeStatus(
            node=name,
            cpus=records.integer((raw.get("cpuinfo") or {}).get("cpus")),
            memory_total=records.integer(memory.get("total")),
            memory_used=records.integer(memory.get("used")),
            rootfs_free=records.integer(rootfs.get("avail")),
            uptime=records.integer(raw.get("uptime")),
            pve_version=str(raw.get("pveversion", "")),
            load=_load(raw.get("loadavg")),
        )

    def service_runs(self, service: str = "pve-firewall", node: str | None = None) -> bool:
        """Whether a daemon of a node runs, as ``pve-firewall``. Needs Sys.Audit on the node.

        ``state`` is what systemd calls SubState (PVE::API2::Services): ``running``, ``dead``, ``failed`` and so on. A
        daemon that reads its files anew (``reload`` and the like, as after an upgrade) runs meanwhile.
        """
        raw = self._read("/nodes/{node}/services/{service}/state", node=node or self.node, service=service)
        return str(raw.get("state", "")).startswith(("running", "reload"))

    def resources(self) -> tuple[records.Guest, ...]:
        """All guests of the cluster that we may see, by VMID. Up to 10 s behind (pvestatd)."""
        return self._guests(self._read("/cluster/resources", {"type": "vm"}))

    def containers(self, node: str | None = None) -> tuple[records.Guest, ...]:
        """The containers of one node that we may see, as they are now."""
        name = node or self.node
        return self._guests({**raw, "node": name, "type": "lxc"} for raw in self._read("/nodes/{node}/lxc", node=name))

    def is_free(self, vmid: int) -> bool:
        """Whether nothing in the cluster has that VMID, be it something that we may not see."""
        try:
            self._read("/cluster/nextid", {"vmid": vmid})
        except AlreadyExistsError:
            return False
        except ApiError as error:
            if "already exists" in error.errors.get("vmid", ""):
                return False
            raise
        return True

    def config(self, vmid: int, node: str | None = None) -> records.ContainerConfig:
        """The configuration as it will be after a restart, with its digest. Needs VM.Audit."""
        name = node or self.node
        raw = dict(self._read("/nodes/{node}/lxc/{vmid}/config", node=name, vmid=vmid))
        digest = str(raw.pop("digest", ""))
        return records.ContainerConfig(vmid, name, records.texts(raw), digest)

    def config_in_snapshot(self, vmid: int, snapshot: str, node: str | None = None) -> Mapping[str, str]:
        """The configuration that a container had at a snapshot. Needs VM.Audit."""
        where = {"node": node or self.node, "vmid": vmid}
        return records.texts(dict(self._read("/nodes/{node}/lxc/{vmid}/config", {"snapshot": snapshot}, **where)))

    def config_and_pending(
        self, vmid: int, node: str | None = None
    ) -> tuple[records.ContainerConfig, Mapping[str, str | None]]:
        """The same as :meth:`config`, and what waits for a restart: one call. Needs VM.Audit.

        Returns:
            The configuration, and by key what holds of it until the restart; None where the key has no value now.
        """
        name = node or self.node
        lines = self._read("/nodes/{node}/lxc/{vmid}/pending", node=name, vmid=vmid)
        values: dict[str, object] = {}
        waiting: dict[str, str | None] = {}
        for raw in lines:
            key, deleted = str(raw["key"]), records.integer(raw.get("delete")) > 0
            if "pending" in raw or deleted:
                waiting[key] = records.text(raw["value"]) if "value" in raw else None
            if not deleted and ("pending" in raw or "value" in raw):
                values[key] = raw.get("pending", raw.get("value"))
        digest = str(values.pop("digest", ""))
        return records.ContainerConfig(vmid, name, records.texts(values), digest), waiting

    def pending(self, vmid: int, node: str | None = None) -> tuple[records.PendingValue, ...]:
        """Only what waits for a restart."""
        lines = self._read("/nodes/{node}/lxc/{vmid}/pending", node=node or self.node, vmid=vmid)
        return tuple(
            records.PendingValue(
                key=str(raw["key"]),
                value=records.text(raw["value"]) if "value" in raw else None,
                pending=records.text(raw["pending"]) if "pending" in raw else None,
                deleted=records.integer(raw.get("delete")) > 0,
            )
            for raw in sorted(lines, key=lambda raw: str(raw["key"]))
            if "pending" in raw or records.integer(raw.get("delete")) > 0
        )

    def status(self, vmid: int, node: str | None = None) -> str:
        """Either "running" or "stopped", as it is now."""
        raw = self._read("/nodes/{node}/lxc/{vmid}/status/current", node=node or self.node, vmid=vmid)
        return str(raw["status"])

    def can_snapshot(self, vmid: int, node: str | None = None) -> bool:
        """Whether all storages of a container can snapshot its volumes, by ``PVE::LXC::Config::has_feature``."""
        where = {"node": node or self.node, "vmid": vmid}
        raw = self._read("/nodes/{node}/lxc/{vmid}/feature", {"feature": "snapshot"}, **where)
        return records.integer(raw.get("hasFeature")) == 1

    def snapshots(self, vmid: int, node: str | None = None) -> tuple[Snapshot, ...]:
        """The snapshots of a container, oldest first; those that a task has left half done too. Needs VM.Audit."""
        lines = self._read("/nodes/{node}/lxc/{vmid}/snapshot", node=node or self.node, vmid=vmid)
        found = (
            Snapshot(
                name=str(raw["name"]),
                description=records.text(raw.get("description")).strip(),
                taken=records.integer(raw.get("snaptime")),
                parent=records.text(raw.get("parent")),
                state=records.text(raw.get("snapstate")),
            )
            for raw in lines
            if raw["name"] != "current"  # stands for the container as it is now
        )
        return tuple(sorted(found, key=lambda one: (one.taken, one.name)))

    def templates(self, storage: str, node: str | None = None) -> tuple[records.Template, ...]:
        """Container templates on a storage."""
        lines = self._read(
            "/nodes/{node}/storage/{storage}/content",
            {"content": "vztmpl"},
            node=node or self.node,
            storage=storage,
        )
        found = (records.Template(str(raw["volid"]), records.integer(raw.get("size"))) for raw in lines)
        return tuple(sorted(found, key=lambda one: one.volid))

    def volumes(self, storage: str, node: str | None = None) -> tuple[records.Volume, ...]:
        """Volumes of guests on a storage, of those guests that we may see.

        Needs Datastore.Audit on the storage and VM.Config.Disk on the guest (PVE::Storage::check_volume_access): what
        we may not see is not in it.
        """
        where = {"node": node or self.node, "storage": storage}
        found = (
            records.Volume(str(raw["volid"]), records.integer(raw.get("vmid")), records.integer(raw.get("size")))
            for raw in self._read("/nodes/{node}/storage/{storage}/content", **where)
            if raw.get("content") in ("images", "rootdir") and raw.get("vmid")
        )
        return tuple(sorted(found, key=lambda one: one.volid))

    def storages(self, node: str | None = None) -> tuple[records.Storage, ...]:
        """Storages of a node, with free space."""
        lines = self._read("/nodes/{node}/storage", node=node or self.node)
        return tuple(_storage(raw) for raw in sorted(lines, key=lambda raw: str(raw["storage"])))

    def bridges(self, node: str | None = None) -> tuple[records.Bridge, ...]:
        """Linux and Open vSwitch bridges of a node."""
        lines = self._read("/nodes/{node}/network", {"type": "any_bridge"}, node=node or self.node)
        return tuple(
            records.Bridge(
                name=str(raw["iface"]),
                kind=str(raw.get("type", "bridge")),
                cidr=str(raw.get("cidr", "")),
                active=records.truth(raw.get("active", 0)),
                autostart=records.truth(raw.get("autostart", 0)),
            )
            for raw in sorted(lines, key=lambda raw: str(raw["iface"]))
            if "bridge" in str(raw.get("type", "bridge")).lower() or raw.get("type") == "vnet"
        )

    def pool(self, poolid: str) -> records.Pool | None:
        """A pool, or None when there is none that we may see. Needs Pool.Audit.

        Two calls. A nested pool (``home/zentoria``) has no path of its own: Proxmox answers 501 to one, and has the
        parameter ``poolid`` instead (8.1 and newer, where GET /pools/{poolid} is called deprecated).
        """
        found = [raw for raw in self._read("/pools") if raw.get("poolid") == poolid]
        if not found:
            return None
        raw: Mapping[str, Any] = next(iter(self._read("/pools", {"poolid": poolid})), {})
        members = raw.get("members") or []
        return records.Pool(
            name=poolid,
            comment=str(raw.get("comment", "")),
            guests=tuple(sorted(records.integer(one["vmid"]) for one in members if one.get("vmid"))),
            storages=tuple(sorted(str(one["storage"]) for one in members if one.get("type") == "storage")),
        )

    def permissions(self) -> records.Permissions:
        """What we may do, by path."""
        raw: dict[str, dict[str, Any]] = self._read("/access/permissions")
        paths = {
            path: MappingProxyType({name: records.truth(propagates) for name, propagates in held.items()})
            for path, held in raw.items()
        }
        return records.Permissions(MappingProxyType(paths))

    def datacenter_firewall(self) -> records.FirewallOptions:
        """Options of the datacenter firewall. Needs Sys.Audit on /."""
        return _options(self._read("/cluster/firewall/options"))

    def node_firewall(self, node: str | None = None) -> records.FirewallOptions:
        """Firewall options of a node. Needs Sys.Audit on it."""
        return _options(self._read("/nodes/{node}/firewall/options", node=node or self.node))

    def guest_firewall(self, vmid: int, node: str | None = None) -> records.FirewallOptions:
        """Firewall options of a container. Needs VM.Audit."""
        return _options(self._read("/nodes/{node}/lxc/{vmid}/firewall/options", node=node or self.node, vmid=vmid))

    def running_tasks(self, vmid: int | None = None, node: str | None = None) -> tuple[records.Task, ...]:
        """Tasks that run on a node now, of one VMID or of all; ours, and with Sys.Audit those of others."""
        params: dict[str, Any] = {"source": "active", "vmid": vmid}
        return tuple(
            _task(raw, node or self.node)
            for raw in self._read("/nodes/{node}/tasks", params, node=node or self.node)
            if not raw.get("endtime") and (vmid is None or str(raw.get("id", "")) == str(vmid))
        )

    def tasks(self, vmid: int, kind: str, node: str | None = None) -> tuple[records.Task, ...]:
        """The newest tasks of one type on a VMID, whether they run or have ended; those of others with Sys.Audit."""
        params: dict[str, Any] = {"source": "all", "vmid": vmid, "typefilter": kind}
        lines = self._read("/nodes/{node}/tasks", params, node=node or self.node)
        return tuple(_task(raw, node or self.node) for raw in lines)

    def _guests(self, lines: Any) -> tuple[records.Guest, ...]:
        found = (_guest(raw) for raw in lines if raw.get("vmid"))
        return tuple(sorted(found, key=lambda guest: guest.vmid))


def _load(raw: object) -> float:
    """The first of three numbers, which are texts; 0 where there is none."""
    try:
        return float(str(raw[0])) if isinstance(raw, list) and raw else 0.0
    except ValueError:
        return 0.0


def _task(raw: Mapping[str, Any], node: str) -> records.Task:
    return records.Task(
        upid=str(raw["upid"]),
        node=str(raw.get("node", node)),
        kind=str(raw.get("type", "")),
        subject=str(raw.get("id", "")),
        user=str(raw.get("user", "")),
        started=records.integer(raw.get("starttime")),
        exit_status=str(raw.get("status", "") or ""),
    )


def _guest(raw: Mapping[str, Any]) -> records.Guest:
    return records.Guest(
        vmid=records.integer(raw["vmid"]),
        node=str(raw.get("node", "")),
        kind=str(raw.get("type", "")),
        status=str(raw.get("status", "unknown")),
        name=str(raw.get("name", "")),
        tags=records.words(raw.get("tags")),
        pool=str(raw.get("pool", "")),
        lock=str(raw.get("lock", "")),
        template=records.truth(raw.get("template", 0)),
        memory=records.integer(raw.get("maxmem")),
    )


def _storage(raw: Mapping[str, Any]) -> records.Storage:
    return records.Storage(
        name=str(raw["storage"]),
        kind=str(raw.get("type", "")),
        content=records.words(raw.get("content")),
        active=records.truth(raw.get("active", 0)),
        enabled=records.truth(raw.get("enabled", 1)),
        shared=records.truth(raw.get("shared", 0)),
        total=records.integer(raw.get("total")),
        used=records.integer(raw.get("used")),
        available=records.integer(raw.get("avail")),
    )


def _options(raw: Mapping[str, Any]) -> records.FirewallOptions:
    values = dict(raw)
    digest = str(values.pop("digest", ""))
    return records.FirewallOptions(records.texts(values), digest)
