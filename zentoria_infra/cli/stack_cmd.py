"""Commands for the whole stack: up, down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zentoria_infra.cli import output, progress
from zentoria_infra.cli.applying import apply, deployment_of, finish, selection
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    YesOption,
    complete_container,
    inventory_of,
    node_title,
)
from zentoria_infra.cli.observe_cmd import content_of
from zentoria_infra.cli.options import AllowOption, ExcludeOption, OnlyOption, ZoneOption
from zentoria_infra.cli.site_run import WaitOption, site_run
from zentoria_infra.execute import applied_record
from zentoria_infra.plan import applied
from zentoria_infra.plan.limits import destroyed
from zentoria_infra.plan.saved import read_saved
from zentoria_infra.plan.selection import Selection, vmids_of
from zentoria_infra.plan.stage_types import AnyStage


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
) -> None:
    """Bring the stack to the state of the inventory: plan, ask, execute. A second run changes nothing."""
    if plan is not None and (only or zone or exclude):
        raise typer.BadParameter("a saved plan says itself which containers it is for", param_hint="PLAN")
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
) -> None:
    """Destroy the stack's containers with their volumes. Asks first; refuses when one of them is protected."""
    inventory = inventory_of(context, root, site)
    only = frozenset(vmids_of(inventory, names)) if names else None
    with site_run(inventory, wait=wait, documents=[applied.NAME]) as at_work:
        proxmox = at_work.proxmox
        deployment = deployment_of(inventory, proxmox)
        stages, left = deployment.removal(only)
        for vmid in left:
            output.note(f"container {vmid} is not Zentoria's: left as it is")
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


def _question(stages: Sequence[AnyStage], where: str) -> str:
    """What is asked before `down`: it names every container and volume that will be lost."""
    named = list(destroyed(stages))
    what = f"{len(named)} container{'' if len(named) == 1 else 's'}" if named else "Zentoria's firewall objects"
    return "\n".join([*named, f"Destroy {what} on {where}? Nothing of it can be brought back."])
