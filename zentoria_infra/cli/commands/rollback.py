"""``zentoria rollback``: a service back to a release that was there before, or a whole container to a snapshot."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zentoria_infra.cli import output, progress
from zentoria_infra.cli.applying import deployment_of, finish
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    YesOption,
    complete_container,
    connect,
    inventory_of,
)
from zentoria_infra.cli.site_run import WaitOption, site_run
from zentoria_infra.errors import RefusedError
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.ways_back import mounted, unseen_after
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.model import parking, snapshots
from zentoria_infra.plan.model.snapshots import Snapshot
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.selection import vmids_of
from zentoria_infra.plan.stages.types import GoBack, RollBack
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.site import applied_record
from zentoria_infra.site.processes import who


def rollback(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME|VMID", autocompletion=complete_container)],
    snapname: Annotated[
        str, typer.Argument(metavar="[SNAPNAME]", help="With --snapshot: which one; default: our newest.")
    ] = "",
    to: Annotated[
        int, typer.Option("--to", metavar="N", min=1, help="How many healthy releases back; default: the one before.")
    ] = 1,
    snapshot: Annotated[
        bool,
        typer.Option("--snapshot", help="The whole container to a snapshot: what was written since is lost. Asks."),
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show the releases and snapshots that are kept.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    wait: WaitOption = 0,
) -> None:
    """Go back to a release that was there before, behind its health gate; or to a snapshot.

    Releases are kept in the container, so nothing is built or fetched for it. The next plan says that the service was
    rolled back, and `up` brings the inventory's release again. Where a database was migrated since, it goes back to the
    dump that was made before, and what was written since is lost: asks. With --snapshot, the whole container goes back.
    """
    if snapname and not snapshot:
        raise typer.BadParameter("a name goes with --snapshot", param_hint="SNAPNAME")
    inventory = inventory_of(context, root, site)
    vmid = vmids_of(inventory, [name])[0]
    if show:
        _show(inventory, vmid, as_json=as_json)
    elif snapshot:
        _to_snapshot(inventory, vmid, snapname, yes=yes, as_json=as_json, wait=wait)
    else:
        _to_release(inventory, vmid, to, yes=yes, as_json=as_json, wait=wait)


def _to_release(inventory: Inventory, vmid: int, back: int, *, yes: bool, as_json: bool, wait: float) -> None:
    with site_run(inventory, wait=wait, documents=[applied.NAME]) as at_work:
        deployment = deployment_of(inventory, at_work.proxmox, firewall=False)
        deployment.require_ours(vmid)
        inside = GuestsInside(inventory, at_work.proxmox)
        inside.require_releases(vmid)
        container = inventory.by_vmid(vmid)
        if lost := inside.lost_by_roll_back(vmid, back):
            words = "".join(f"{one.detail}.\n" for one in lost)
            output.confirm(f"{words}Services that want a newer one refuse to start.\nRoll {container.name} back?", yes)
        stages = (RollBack(vmid, container.name, f"{vmid}:rollback", (), back, who()),)
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
        before = at_work.lock.documents.get(applied.NAME)
        at_work.lock.put(applied.NAME, applied_record.after_rollback(before, vmid))
        for ended in result.ended:
            for one in ended.report.changes if ended.report is not None and not as_json else ():
                output.lines([f"{container.name}: {one.detail}"])
        finish(result, at_work.proxmox, as_json=as_json, begun=at_work.begun)


def _to_snapshot(inventory: Inventory, vmid: int, snapname: str, *, yes: bool, as_json: bool, wait: float) -> None:
    container = inventory.by_vmid(vmid)
    with site_run(inventory, wait=wait, documents=[applied.NAME]) as at_work:
        proxmox = at_work.proxmox
        deployment = deployment_of(inventory, proxmox, firewall=False)
        deployment.require_ours(vmid)
        chosen = _chosen(inventory, vmid, proxmox, snapname)
        stages = (GoBack(vmid, container.name, f"{vmid}:back", (), chosen.name),)
        deployment.require_rights(stages)
        output.confirm(_question(inventory, vmid, proxmox, chosen), yes)
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
        before = at_work.lock.documents.get(applied.NAME)
        at_work.lock.put(applied.NAME, applied_record.after_rollback(before, vmid, whole=True))
        finish(result, proxmox, as_json=as_json, begun=at_work.begun)


def _chosen(inventory: Inventory, vmid: int, proxmox: Proxmox, name: str) -> Snapshot:
    """The snapshot of that name, whoever has taken it; without a name, our newest."""
    there = proxmox.observe.snapshots(vmid, inventory.node_of(inventory.by_vmid(vmid)))
    found = [one for one in there if one.name == name] if name else snapshots.ours(there, inventory.site.id, vmid)
    if not found or found[0].state:
        names = ", ".join(one.name for one in there if not one.state) or "none"
        raise RefusedError(
            f"put {inventory.by_vmid(vmid).name} back to a snapshot",
            got=f"there is no whole snapshot {name}" if name else "Zentoria has taken none of it",
            todo=f"there are: {names}; `zentoria rollback {inventory.by_vmid(vmid).name} --list` shows them",
        )
    return found[0]


def _question(inventory: Inventory, vmid: int, proxmox: Proxmox, chosen: Snapshot) -> str:
    """What is lost, by name."""
    name = inventory.by_vmid(vmid).name
    node = inventory.node_of(inventory.by_vmid(vmid))
    config = proxmox.observe.config(vmid, node).values
    later = unseen_after(config, proxmox.observe.config_in_snapshot(vmid, chosen.name, node))
    data = mounted({key: value for key, value in config.items() if key not in later})
    hidden = (
        f"{parking.words(config, later)} came after it: nothing is mounted there any more, and what is on it stays on "
        "the node, as an unused volume of the container.\n"
        if later
        else ""
    )
    where = f"its root file system and {data}" if data else "its root file system"
    return (
        f"What {name} ({vmid}) has written since {chosen.time} on {where} will be lost.\n"
        f"{hidden}"
        "Its configuration goes back too, but not its firewall; it is stopped hard, and started again.\n"
        f"Put {name} back to snapshot {chosen.name}?"
    )


def _show(inventory: Inventory, vmid: int, *, as_json: bool) -> None:
    with connect(inventory.site) as proxmox:
        deployment_of(inventory, proxmox, firewall=False).require_ours(vmid)
        inside = GuestsInside(inventory, proxmox)
        released = not inside.missing and inside.has_releases(vmid)
        found = inside.releases(vmid) if released else {}
        there = proxmox.observe.snapshots(vmid, inventory.node_of(inventory.by_vmid(vmid)))
    ours = {one.name for one in snapshots.ours(there, inventory.site.id, vmid)}
    if as_json:
        releases: dict[str, Any] = {
            service: [one.model_dump(mode="json") for one in kept] for service, kept in found.items()
        }
        listed = [
            {"name": one.name, "taken": one.taken, "ours": one.name in ours, "whole": not one.state,
             "description": one.description}
            for one in reversed(there)
        ]  # fmt: skip
        output.document({"releases": releases, "snapshots": listed})
        return
    for service, kept in found.items():
        output.lines([f"{service}:" if kept else f"{service}: no releases yet"])
        for release in kept:
            state = "runs now" if release.current else "" if release.passed else "never was healthy"
            output.lines([f"  {release.version}  {release.built:%Y-%m-%d %H:%M} UTC  {state}".rstrip()])
    if not released:
        output.lines(["no releases: " + (inside.missing or "what it runs comes from Debian packages")])
    output.lines(["snapshots:" if there else "no snapshots"])
    for one in reversed(there):
        whose = f"not finished ({one.state})" if one.state else "" if one.name in ours else "not Zentoria's"
        output.lines([f"  {one.name}  {one.time}  {whose}".rstrip()])
