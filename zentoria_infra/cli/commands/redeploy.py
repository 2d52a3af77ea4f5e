"""``zentoria redeploy``: some containers to their state, with a fresh release."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli.applying import apply
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, YesOption, inventory_of
from zentoria_infra.cli.options import AllowOption, NamesArgument
from zentoria_infra.cli.site_run import WaitOption
from zentoria_infra.plan.limits import Allow
from zentoria_infra.plan.selection import Selection, vmids_of


def redeploy(
    context: typer.Context,
    names: NamesArgument,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Make the containers anew from the template; their data volumes and firewall stay. Asks."
        ),
    ] = False,
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot/--no-snapshot",
            help="Snapshot each container before it is changed, where its storage can; the newest two are kept.",
        ),
    ] = True,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    allow: AllowOption = None,
    wait: WaitOption = 0,
) -> None:
    """Bring some containers to their state and switch their services to a fresh release behind a health gate.

    Of several, the one that starts first goes alone; the rest follows only when its gate was passed. A container that
    fails goes back to its snapshot, unless it keeps data on volumes of its own or has releases to go back to.
    """
    inventory = inventory_of(context, root, site)
    wanted = frozenset(vmids_of(inventory, names))
    apply(
        inventory,
        Selection(wanted, {}),
        wanted,
        yes=yes or not replace,
        as_json=as_json,
        allow={*(allow or ()), *([Allow.REPLACE] if replace else ())},
        wait=wait,
        first_alone=True,
        replace=wanted if replace else (),
        snapshot=snapshot,
    )
