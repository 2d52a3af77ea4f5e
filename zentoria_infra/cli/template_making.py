"""Makes a prepared template in a container of the inventory: for a site, and for a lab that starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zentoria_infra.cli import output, progress
from zentoria_infra.cli.context import node_title
from zentoria_infra.cli.site_run import SiteRun
from zentoria_infra.errors import RefusedError
from zentoria_infra.execute import template_build
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.perform_firewall import package_sources
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.stages.types import AnyStage


def made_in(
    inventory: Inventory,
    at_work: SiteRun,
    file: Path,
    *,
    yes: bool,
    as_json: bool,
    name: str = "",
    say: Callable[[str], None] | None = None,
) -> None:
    """Make a template in a container of the inventory, which goes again.

    Args:
        inventory: of the site.
        at_work: the run.
        file: where the archive goes.
        yes: do not ask.
        as_json: tell in JSON lines.
        name: the container's; empty for the one that serves best.
        say: told of the stages in few words, in place of the usual table.

    Raises:
        ZentoriaError: it did not work; the container goes all the same, if it can.
    """
    proxmox = at_work.proxmox
    nodes = sorted({inventory.node_of(one) for one in inventory.containers})
    there = {guest.vmid for node in nodes for guest in proxmox.observe.containers(node)}
    container = template_build.builder(inventory, there, name)
    inside = template_build.BuilderInside(inventory, proxmox)
    if inside.missing:
        raise RefusedError("build a template", got=inside.missing, todo="see `proxmox.ssh` in the site's file")
    deployment = Deployment(
        proxmox,
        template_build.bare(inventory, container),
        inside,
        firewall=proven_firewall(inventory),
        sources=package_sources(inventory.site),
        management=[str(cidr) for cidr in inventory.site.firewall.management],
    )
    plan, stages = deployment.plan({container.vmid}, wait=True)
    require_possible(plan, ())
    deployment.require_inside(stages)
    where = node_title(inventory.site)
    output.confirm(f"Make container {container.vmid} ({container.name}) on {where}, pack it, and destroy it?", yes)
    try:
        _carried_out(at_work, deployment, stages, as_json=as_json, say=say)
        if say is None:
            output.status(f"Packing the file system of {container.name} ...", quiet=as_json)
        template_build.pack(proxmox.pct, container.vmid, file)
    finally:
        _gone(at_work, deployment, container, as_json=as_json, say=say)
        if back := template_build.as_it_was(plan):
            _carried_out(at_work, deployment, back, as_json=as_json, say=say)


def _gone(
    at_work: SiteRun,
    deployment: Deployment,
    container: Container,
    *,
    as_json: bool,
    say: Callable[[str], None] | None,
) -> None:
    removal, _ = deployment.removal({container.vmid})
    _carried_out(at_work, deployment, removal, as_json=as_json, say=say)


def _carried_out(
    at_work: SiteRun,
    deployment: Deployment,
    stages: tuple[AnyStage, ...],
    *,
    as_json: bool,
    say: Callable[[str], None] | None,
) -> None:
    if say is not None:
        result = at_work.carry_out(deployment, stages, lambda event: None)
    else:
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
    _require_well(result)


def _require_well(result: engine.Result) -> None:
    for ended in result.failed:
        raise ended.error if ended.error is not None else RefusedError("build a template", got="it failed")
    if result.interrupted:
        raise RefusedError("build a template", got="it was interrupted", todo="run the same command again")
