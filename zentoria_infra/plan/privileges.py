"""Which rights a change needs: a privilege of Proxmox on a path of its tree of permissions. Pure.

Proxmox asks for the right of each option (``PVE::LXC::check_ct_modify_config_perm``); what it asks beyond its
documentation was measured on Proxmox VE 8.4, one privilege taken away at a time. A right on a guest may come from the
pool that it is in, and does for Zentoria: so a guest with a pool is named by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zentoria_infra.firewall.change.steps import DropRule, MoveToEnd, Step, UpdateRule
from zentoria_infra.plan.model.change import AttributeChange, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.values import parse_properties
from zentoria_infra.plan.stages.types import (
    AnyStage,
    CloseSources,
    Configure,
    Converge,
    Create,
    CutConnections,
    Destroy,
    DropParking,
    DropSnapshots,
    ForgetFlows,
    GainFlows,
    GoBack,
    LoseFlows,
    MakeParking,
    MoveStorage,
    MoveVolume,
    OpenSources,
    ParkFirewall,
    PctSet,
    Resize,
    Restart,
    RollBack,
    Snapshot,
    Start,
    Stop,
    SwitchOn,
)


@dataclass(frozen=True, order=True, slots=True)
class Need:
    """A right.

    Args:
        path: of the tree of permissions, as ``/pool/zentoria``; in tables with ``{names}``, as ``/vms/{vmid}``.
        privilege: as Proxmox names it: ``VM.Config.Memory``.
    """

    path: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.path}"


ZONE = "localnetwork"
"""The SDN zone of bridges that are none of SDN's (PVE::Network::SDN::Zones)."""

PRIVILEGED = Need("/", "Sys.Modify")
"""What making a privileged container needs besides, from Proxmox VE 9 on (measured on 9.2.11: "Permission check failed
(/, Sys.Modify)"; 8.4 asks for nothing)."""

_PRIVILEGE: Mapping[str, str] = {
    "cores": "VM.Config.CPU",
    "cpulimit": "VM.Config.CPU",
    "cpuunits": "VM.Config.CPU",
    "memory": "VM.Config.Memory",
    "swap": "VM.Config.Memory",
    "hostname": "VM.Config.Network",
    "nameserver": "VM.Config.Network",
    "searchdomain": "VM.Config.Network",
    "features": "VM.Allocate",  # nesting alone: all else is for root@pam, and goes through `pct set`
}
_DISK = re.compile(r"rootfs|(mp|unused)\d+")
_NET = re.compile(r"net\d+")
_OTHER = "VM.Config.Options"


def guest_path(vmid: int, pool: str = "") -> str:
    """Where the rights on a guest are: at its pool, without one at the guest itself."""
    return f"/pool/{pool}" if pool else f"/vms/{vmid}"


def attribute_needs(key: str, guest: str = "/vms/{vmid}", *values: str) -> tuple[Need, ...]:
    """What setting one option of a container needs.

    Args:
        key: the option, as ``memory`` or ``net0``.
        guest: where the rights on the guest are, from :func:`guest_path`.
        values: those before and after; they say which storage and which bridges it is about.
    """
    if _NET.fullmatch(key):
        return (Need(guest, "VM.Config.Network"), *_bridges(values))
    if _DISK.fullmatch(key):
        return (Need(guest, "VM.Config.Disk"), *_storages(values))
    return (Need(guest, _PRIVILEGE.get(key, _OTHER)),)


def change_needs(change: AttributeChange, vmid: int, pool: str = "") -> tuple[Need, ...]:
    """What one change of a container's configuration needs; what goes through ``pct`` over SSH needs no right here.

    Args:
        change: the change.
        vmid: the container.
        pool: its pool; empty without one.
    """
    guest = guest_path(vmid, pool)
    if change.via is Via.PCT:
        return ()
    if change.via is Via.MOVE:
        return (Need(guest, "VM.Config.Disk"), Need(f"/storage/{change.sent}", "Datastore.AllocateSpace"))
    if change.via is Via.RESIZE:
        return (Need(guest, "VM.Config.Disk"), Need(guest, _OTHER))
    return attribute_needs(change.key, guest, change.before, change.after)


def firewall_needs(steps: Iterable[Step], pool: str = "") -> tuple[Need, ...]:
    """What changing firewalls needs. Rules have no names: before one is changed, the list is read."""
    found: set[Need] = set()
    for step in steps:
        guest = guest_path(step.where.vmid, pool) if step.where.vmid else ""
        found.add(Need(guest, "VM.Config.Network") if guest else Need("/", "Sys.Modify"))
        if isinstance(step, UpdateRule | MoveToEnd | DropRule):
            found.add(Need(guest, "VM.Audit") if guest else Need("/", "Sys.Audit"))
    return _sorted(found)


def stage_needs(stage: AnyStage, pool: str = "", desired: DesiredContainer | None = None) -> tuple[Need, ...]:
    """What one stage needs.

    Args:
        stage: the stage.
        pool: the pool of the containers; empty without one.
        desired: the stage's container; with it, growing a volume names the storage.
    """
    guest = guest_path(stage.vmid, pool)
    look = Need(guest, "VM.Audit")
    match stage:
        case Create(desired=made):
            return create_needs(made)
        case MakeParking(desired=made, parking=parking):
            return parking_needs(made, parking)
        case ParkFirewall(steps=steps):
            return _sorted((look, *firewall_needs(steps, pool)))
        case MoveVolume(parking=parking, storage=storage):
            disk = (Need(one, "VM.Config.Disk") for one in (guest, guest_path(parking, pool)))
            return _sorted((look, *disk, Need(f"/storage/{storage}", "Datastore.AllocateSpace")))
        case MoveStorage(change=change):
            return _sorted((look, *change_needs(change, stage.vmid, pool)))
        case DropParking(parking=parking):
            return _sorted(Need(guest_path(parking, pool), name) for name in ("VM.Allocate", "VM.Audit"))
        case Destroy():
            return _sorted((look, Need(guest, "VM.Allocate"), Need(guest, "VM.PowerMgmt")))
        case Start() | Restart() | Stop():
            return (look, Need(guest, "VM.PowerMgmt"))
        case Configure(changes=changes):
            return _sorted((look, *(need for one in changes for need in change_needs(one, stage.vmid, pool))))
        case Resize(change=change):
            volumes = (desired.rootfs, *desired.volumes) if desired else ()
            storages = (f"/storage/{one.storage}" for one in volumes if one.key == change.key)
            space = (Need(path, "Datastore.AllocateSpace") for path in storages)
            return _sorted((look, *change_needs(change, stage.vmid, pool), *space))
        case Snapshot() | DropSnapshots():
            return (look, Need(guest, "VM.Snapshot"))
        case GoBack(after_failure=automatic):
            names = ("VM.Snapshot.Rollback", "VM.PowerMgmt", *(("VM.Snapshot",) if automatic else ()))
            return _sorted((look, *(Need(guest, name) for name in names)))
        case PctSet() | RollBack():
            return (look,)
        case Converge(closing=steps) | CloseSources(closing=steps) | OpenSources(steps=steps):
            return _sorted((look, *firewall_needs(steps, pool)))
        case GainFlows(steps=steps) | LoseFlows(steps=steps) | ForgetFlows(steps=steps):
            return _sorted((*((look,) if stage.vmid else ()), *firewall_needs(steps, pool)))
        case SwitchOn():
            return (Need("/", "Sys.Audit"), Need("/", "Sys.Modify"))
        case CutConnections():  # over SSH
            return ()


def parking_needs(desired: DesiredContainer, parking: int) -> tuple[Need, ...]:
    """What making the parking container of a container needs; see :mod:`zentoria_infra.plan.model.parking`."""
    guest = guest_path(parking, desired.pool)
    options = ("Disk", "Memory", "Network", "Options")
    needs = [Need(guest, "VM.Allocate"), Need(guest, "VM.Audit")]
    needs += [Need(guest, f"VM.Config.{name}") for name in options]
    needs += [Need(f"/storage/{desired.rootfs.storage}", "Datastore.AllocateSpace")]
    needs += [Need(f"/storage/{desired.ostemplate.partition(':')[0]}", "Datastore.Audit")]
    return _sorted(needs)


def create_needs(desired: DesiredContainer) -> tuple[Need, ...]:
    """What making a container needs: the call sets most of its options, and needs the right of each."""
    guest = guest_path(desired.vmid, desired.pool)
    volumes = (desired.rootfs, *desired.volumes)
    bridges = (net["bridge"] for net in desired.nets.values() if net.get("bridge"))
    needs = [Need(guest, "VM.Allocate"), Need(guest, "VM.Config.Disk"), Need(guest, _OTHER)]
    needs += [need for key in desired.options for need in attribute_needs(key, guest)]
    needs += [Need(f"/storage/{one.storage}", "Datastore.AllocateSpace") for one in volumes]
    needs += [Need(f"/storage/{desired.ostemplate.partition(':')[0]}", "Datastore.Audit")]
    needs += [Need(guest, "VM.Config.Network") for _ in desired.nets]
    needs += [Need(f"/sdn/zones/{ZONE}/{bridge}", "SDN.Use") for bridge in bridges]
    needs += [] if desired.unprivileged else [PRIVILEGED]
    return _sorted(needs)


def _bridges(values: Iterable[str]) -> tuple[Need, ...]:
    """A NIC that moves from one bridge to another needs the right on both."""
    found = (parse_properties(value) for value in values if value)
    return tuple(Need(_bridge_path(net), "SDN.Use") for net in found if net.get("bridge"))


def _bridge_path(net: Mapping[str, str]) -> str:
    tag = f"/{net['tag']}" if net.get("tag") else ""
    return f"/sdn/zones/{ZONE}/{net['bridge']}{tag}"


def _storages(values: tuple[str, ...]) -> tuple[Need, ...]:
    volumes = (parse_properties(value, "volume").get("volume", "") for value in values[-1:] if value)
    return tuple(Need(f"/storage/{one.partition(':')[0]}", "Datastore.AllocateSpace") for one in volumes if ":" in one)


def _sorted(needs: Iterable[Need]) -> tuple[Need, ...]:
    return tuple(sorted(set(needs)))
