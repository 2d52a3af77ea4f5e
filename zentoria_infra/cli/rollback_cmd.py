"""``zentoria rollback``: a service back to a release that was there before."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zentoria_infra.cli import output, progress
from zentoria_infra.cli.applying import deployment_of, finish
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, complete_container, connect, inventory_of
from zentoria_infra.cli.site_run import WaitOption, site_run
from zentoria_infra.execute import applied_record
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.processes import who
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan import applied
from zentoria_infra.plan.selection import vmids_of
from zentoria_infra.plan.stage_types import RollBack


def rollback(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME|VMID", autocompletion=complete_container)],
    to: Annotated[
        int, typer.Option("--to", metavar="N", min=1, help="How many healthy releases back; default: the one before.")
    ] = 1,
    show: Annotated[bool, typer.Option("--list", help="Only show the releases that are kept.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    wait: WaitOption = 0,
) -> None:
    """Switch a container's service back to a release that was there before, behind its health gate.

    Releases are kept in the container, so nothing is built or fetched for it. The next plan says that the service was
    rolled back, and `up` brings the inventory's release again.
    """
    inventory = inventory_of(context, root, site)
    vmid = vmids_of(inventory, [name])[0]
    if show:
        _show(inventory, vmid, as_json=as_json)
        return
    with site_run(inventory, wait=wait, documents=[applied.NAME]) as at_work:
        deployment = deployment_of(inventory, at_work.proxmox, firewall=False)
        deployment.require_ours(vmid)
        GuestsInside(inventory, at_work.proxmox).require_releases(vmid)
        container = inventory.by_vmid(vmid)
        stages = (RollBack(vmid, container.name, f"{vmid}:rollback", (), to, who()),)
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
        before = at_work.lock.documents.get(applied.NAME)
        at_work.lock.put(applied.NAME, applied_record.after_rollback(before, vmid))
        for ended in result.ended:
            for one in ended.report.changes if ended.report is not None and not as_json else ():
                output.lines([f"{container.name}: {one.detail}"])
        finish(result, at_work.proxmox, as_json=as_json, begun=at_work.begun)


def _show(inventory: Inventory, vmid: int, *, as_json: bool) -> None:
    with connect(inventory.site) as proxmox:
        deployment_of(inventory, proxmox, firewall=False).require_ours(vmid)
        inside = GuestsInside(inventory, proxmox)
        inside.require_releases(vmid)
        found = inside.releases(vmid)
    if as_json:
        data: dict[str, Any] = {
            service: [one.model_dump(mode="json") for one in kept] for service, kept in found.items()
        }
        output.document(data)
        return
    for service, kept in found.items():
        output.lines([f"{service}:" if kept else f"{service}: no releases yet"])
        for one in kept:
            state = "runs now" if one.current else "" if one.passed else "never was healthy"
            output.lines([f"  {one.version}  {one.built:%Y-%m-%d %H:%M} UTC  {state}".rstrip()])
