"""Commands for the whole stack: up, down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zentoria_infra.cli import output, progress
from zentoria_infra.cli.applying import apply, deployment_of, finish, selection
from zentoria_infra.cli.commands.observe import content_of
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    YesOption,
    complete_container,
    inventory_of,
    node_title,
)
from zentoria_infra.cli.options import AllowOption, ExcludeOption, OnlyOption, ZoneOption
from zentoria_infra.cli.site_run import WaitOption, site_run
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.limits import destroyed, require_snapshots_allowed
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.saved.saved_plan import read_saved
from zentoria_infra.plan.selection import Selection, vmids_of
from zentoria_infra.plan.stages.types import AnyStage, Destroy
from zentoria_infra.site import applied_record


def up(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN]", help="A plan that `zentoria plan --out` saved: exactly that is done, or nothing."
        ),
    ] = None,
    only: OnlyOption = None,
    zone: ZoneOption = None,
    exclude: ExcludeOption = None,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    allow: AllowOption = None,
    snapshot: Annotated[
        bool,
        typer.Option("--snapshot", help="As `redeploy`: snapshot containers before they are changed, if possible."),
    ] = False,
    wait: WaitOption = 0,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Also **destroy** containers of this site that the inventory does not have. Asks; names them.",
        ),
    ] = False,
) -> None:
    """Bring the stack to the state of the inventory: plan, ask, execute. A second run changes nothing."""
    if plan is not None and (only or zone or exclude):
        raise typer.BadParameter("a saved plan says itself which containers it is for", param_hint="PLAN")
    if prune and (plan is not None or only or zone or exclude):
        raise typer.BadParameter("orphans are removed in a run for the whole stack", param_hint="--prune")
    saved = read_saved(content_of(plan, "saved plan"), str(plan)) if plan is not None else None
    inventory = inventory_of(context, root, site)
    chosen = selection(inventory, only, zone, exclude)
    if saved is not None and saved.selected is not None:
        chosen = Selection(frozenset(saved.selected), {})
    apply(
        inventory,
        chosen,
        yes=yes,
        as_json=as_json,
        allow=allow or (),
        wait=wait,
        saved=saved,
        saved_as=plan.name if plan is not None else "",
        snapshot=True if snapshot else None,
        prune=prune,
        welcome=True,
    )


def down(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|VMID...]", help="Default: all.", autocompletion=complete_container),
    ] = None,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    wait: WaitOption = 0,
    allow: AllowOption = None,
) -> None:
    """Destroy the stack's containers with their volumes. Asks first; refuses when one of them is protected."""
    inventory = inventory_of(context, root, site)
    only, orphans = _named(inventory, names)
    with site_run(inventory, wait=wait, documents=[applied.NAME]) as at_work:
        proxmox = at_work.proxmox
        deployment = deployment_of(inventory, proxmox)
        stages, left = deployment.removal(only, orphans)
        for line in deployment.remains(left, whole=only is None):
            output.note(line)
        require_snapshots_allowed(stages, allow or ())
        if not stages:
            if as_json:
                output.json_line({"event": "result", "exit_code": 0, "stages": 0, "errors": [], "left": list(left)})
            output.note("Nothing to destroy.")
            return
        output.confirm(_question(stages, node_title(inventory.site)), yes)
        with progress.shown(stages, as_json=as_json) as listen:
            result = at_work.carry_out(deployment, stages, listen)
        at_work.lock.put(applied.NAME, applied_record.after_removal(at_work.lock.documents.get(applied.NAME), result))
        finish(result, proxmox, as_json=as_json, left=left)


def _named(inventory: Inventory, names: Sequence[str] | None) -> tuple[frozenset[int] | None, frozenset[int]]:
    """What is to go: VMIDs of the inventory (None for all), and others, which may be those of orphans."""
    if not names:
        return None, frozenset()
    known = {str(one.vmid) for one in inventory.containers}
    numbers = [one for one in names if one.isascii() and one.isdigit() and one not in known]
    rest = [one for one in names if one not in numbers]
    return frozenset(vmids_of(inventory, rest)), frozenset(map(int, numbers))


def _question(stages: Sequence[AnyStage], where: str) -> str:
    """What is asked before `down`: it names every container and volume that will be lost."""
    named = list(destroyed(stages))
    count = sum(isinstance(one, Destroy) for one in stages)
    what = f"{count} container{'' if count == 1 else 's'}" if count else "Zentoria's firewall objects"
    return "\n".join([*named, f"Destroy {what} on {where}? Nothing of it can be brought back."])
