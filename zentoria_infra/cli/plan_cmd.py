"""``zentoria plan``: what `up` would change, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of
from zentoria_infra.errors import ExitCode
from zentoria_infra.plan import explain


def plan(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Also name containers without a change.")] = False,
) -> None:
    """Show what `up` would change, container by container, and why. Changes nothing."""
    inventory = inventory_of(context, root, site)
    with connect(inventory.site) as proxmox:
        found, stages = deployment_of(inventory, proxmox).plan()
    if as_json:
        output.document(explain.document(found, stages))
    else:
        output.lines(explain.lines(found, stages, everything=everything))
    if found.refused or found.problems:
        raise typer.Exit(ExitCode.REFUSED)
