"""What the commands that change the stack share: look, show the plan, ask, run, and say how it ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import typer

from zentoria_infra.cli import first_run, output, progress
from zentoria_infra.cli.context import connect, node_title
from zentoria_infra.cli.models_shown import bring_last
from zentoria_infra.cli.site_run import site_run
from zentoria_infra.cli.snapshotting import after, protected, told, went_back
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.models import placed
from zentoria_infra.execute.prepared import FromTemplate
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.perform_firewall import package_sources
from zentoria_infra.inventory.model import Inventory, Site
from zentoria_infra.materials.sources import ca_of
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import Allow, destroyed, lost, require_possible, require_snapshots_allowed
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.saved.saved_plan import SavedPlan
from zentoria_infra.plan.selection import Selection, explained, require_there, select
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.stages.one_first import one_first
from zentoria_infra.plan.stages.types import AnyStage, Destroy
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.site import applied_record, history
from zentoria_infra.site.binding import bound, require_unmoved


def selection(
    inventory: Inventory, only: Sequence[str] | None, zones: Sequence[str] | None, exclude: Sequence[str] | None
) -> Selection | None:
    """The containers that the options choose; None means all.

    Raises:
        RefusedError: a name is unknown, or nothing is left.
    """
    needs = {one.vmid: one.needs for one in desired_containers(inventory)}
    return select(inventory, needs, only=only or (), zones=zones or (), exclude=exclude or ())


def vmids_for(
    chosen: Selection | None, inventory: Inventory, deployment: Deployment, *, quiet: bool
) -> frozenset[int] | None:
    """The VMIDs to plan for, None for all; what the chosen need of others is looked for, and said unless ``quiet``.

    Raises:
        RefusedError: something that they need is not there.
    """
    if chosen is None:
        return None
    if chosen.needs:
        require_there(chosen, inventory, deployment.there())
    if not quiet:
        output.lines(explained(chosen, inventory))
    return chosen.vmids


def deployment_of(
    inventory: Inventory,
    proxmox: Proxmox,
    forced: Collection[int] = (),
    *,
    firewall: bool = True,
) -> Deployment:
    """The deployment of a site; services of ``forced`` VMIDs are deployed anew.

    Raises:
        RefusedError: with ``firewall``, which is proven first: it would not allow exactly what the flows say.
    """
    inside = GuestsInside(inventory, proxmox, forced=forced)
    return Deployment(
        proxmox,
        desired_containers(inventory),
        inside,
        firewall=proven_firewall(inventory) if firewall else None,
        sources=package_sources(inventory.site),
        management=[str(cidr) for cidr in inventory.site.firewall.management],
        prepared=FromTemplate(inventory),
    )


def apply(
    inventory: Inventory,
    chosen: Selection | None,
    forced: Collection[int] = (),
    *,
    yes: bool,
    as_json: bool,
    allow: Collection[Allow],
    wait: float = 0.0,
    saved: SavedPlan | None = None,
    saved_as: str = "",
    first_alone: bool = False,
    replace: Collection[int] = (),
    snapshot: bool | None = None,
    prune: bool = False,
    welcome: bool = False,
) -> None:
    """Plan for some containers or all, show it, ask, and carry it out.

    Args:
        inventory: of the site.
        chosen: which containers; None means all.
        forced: VMIDs whose services are deployed anew.
        yes: do not ask.
        as_json: tell in JSON lines.
        allow: limits that may be exceeded.
        wait: seconds to wait for another run to end.
        saved: the plan that is to be carried out as it is, or not at all. It was looked at, so nobody is asked.
        saved_as: its file, for the history.
        first_alone: one container goes first, and the rest waits for it.
        replace: VMIDs of containers that are replaced though nothing asks for it; their data volumes are kept.
        snapshot: whether containers are snapshotted before they are changed, where that can be; None says nothing
            of it either.
        prune: containers of the site that the inventory does not have are destroyed.
        welcome: where the site has no owner yet, print the link for the first account in the end.

    Raises:
        RefusedError: something moved since the plan was saved, or stands in the way; nothing was changed.
    """
    output.status(f"Looking at {node_title(inventory.site)} ...", quiet=as_json)
    with site_run(inventory, wait=wait, documents=[applied.NAME, first_run.NAME]) as at_work:
        deployment = deployment_of(inventory, at_work.proxmox, forced)
        vmids = vmids_for(chosen, inventory, deployment, quiet=as_json)
        found, stages = deployment.plan(vmids, wait=True, replace=replace, prune=prune)
        bare = found, stages
        ways = None
        if snapshot is not None:
            by = "redeploy" if first_alone else "up"
            ways = protected(deployment, at_work.proxmox, found, stages, take=snapshot, by=by)
            found, stages = ways.plan, ways.stages
        if first_alone:
            stages = one_first(stages, deployment.desired)
        before = at_work.lock.documents.get(applied.NAME)
        basis = applied_record.basis(inventory, deployment, found, before)
        listed = document(found, stages, basis)
        shown = listed.model_dump(mode="json")
        if as_json:
            output.json_line({"event": "plan", **shown})
        else:
            output.lines(explain.lines(found, stages, basis, listing=listed.listing))
        for line in ways.says() if ways is not None and not as_json else ():
            output.note(line)
        if saved is not None:
            planned = listed if ways is None else document(*bare, basis)
            require_unmoved(saved, bound(inventory, deployment, planned, only=vmids))
        require_possible(found, allow, restarts=inventory.site.limits.restarts, of=len(inventory.containers))
        require_snapshots_allowed(stages, allow)
        deployment.require_inside(stages)
        if stages:
            output.confirm(_question(found, stages, inventory.site), yes or saved is not None)
            at_work.lock.planned(history.planned(shown, saved=saved_as), shown)
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
        at_work.lock.put(applied.NAME, applied_record.after(deployment, found, result, before))
        finish(result, at_work.proxmox, as_json=as_json, begun=at_work.begun, plan=found, url=_where(inventory))
        if welcome and not as_json and not found.no_inside:
            first_run.tell(inventory, at_work, result, vmids)
    if models := placed(inventory) if not found.no_inside else ():
        # Without the lock: it may take long, and what others do to the stack meanwhile does not matter to it.
        with connect(inventory.site) as proxmox:
            bring_last(proxmox, models, vmids, as_json=as_json)


def finish(
    result: engine.Result,
    proxmox: Proxmox,
    *,
    as_json: bool,
    begun: float | None = None,
    plan: Plan | None = None,
    url: str = "",
    left: Sequence[int] = (),
) -> None:
    """Print what failed and the totals, and leave with the code that says it."""
    figures = {
        "seconds": round(time.monotonic() - begun, 3) if begun is not None else None,
        "api_calls": proxmox.api_calls.total,
        "ssh_round_trips": proxmox.ssh_round_trips,
    }
    if as_json:
        errors = [{"vmid": e.stage.vmid, "stage": e.stage.says(), "error": str(e.error)} for e in result.failed]
        output.json_line(
            {"event": "result", "exit_code": int(result.exit_code), "interrupted": result.interrupted,
             "stages": len(result.ended), "errors": errors, "left": list(left),
             "back": told(went_back(result)), "warnings": list(proxmox.warnings), **figures}
        )  # fmt: skip
    else:
        for ended in result.failed:
            output.problem(f"{progress.title(ended.stage)}: {ended.error}")
        for line in after(result):
            output.note(line)
        for line in proxmox.warnings:
            output.note(f"Proxmox warned: {line}")
        output.note(_summary(result, figures, plan, url))
    if result.exit_code is not ExitCode.OK:
        raise typer.Exit(result.exit_code)


def _summary(result: engine.Result, figures: dict[str, Any], plan: Plan | None, url: str) -> str:
    calls = f"{figures['api_calls']} API calls, {figures['ssh_round_trips']} SSH round trips"
    took = f" in {figures['seconds']:.1f} s" if figures["seconds"] is not None else ""
    if result.interrupted:
        return f"Interrupted{took}; run the same command again to go on."
    if result.failed:
        bad = sorted({e.stage.container for e in result.failed})
        return f"Failed for {', '.join(bad)}{took}; the others are done. Put it right and run the same command again."
    inside = f"\nNot run inside the containers: {plan.no_inside}." if plan is not None and plan.no_inside else ""
    at = f"\n{url}" if url and not inside else ""
    return f"Done{took}: {calls}.{inside}{at}"


def _question(plan: Plan, stages: Sequence[AnyStage], site: Site) -> str:
    """What is asked before a run: with what it destroys or interrupts."""
    orphans = [one for one in stages if isinstance(one, Destroy) and one.orphan is not None]
    warnings = "".join(f"{one}\n" for one in (*destroyed(orphans), *lost(plan)))
    return f"{warnings}Carry out this plan on {node_title(site)}?"


def _where(inventory: Inventory) -> str:
    """Where users reach the stack, and what their browser must trust for it."""
    site = inventory.site
    if site.certificate.mode != "site-ca":
        return site.public_url
    return f"{site.public_url} (trust the site's CA: {ca_of(site).certificate_path})"
