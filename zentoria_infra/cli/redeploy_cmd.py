"""``zentoria redeploy``: some containers to their state, with a fresh release."""

from __future__ import annotations

import typer

from zentoria_infra.cli.applying import AllowOption, NamesArgument, apply
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of
from zentoria_infra.cli.site_run import WaitOption
from zentoria_infra.plan.selection import Selection, vmids_of


def redeploy(
    context: typer.Context,
    names: NamesArgument,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    allow: AllowOption = None,
    wait: WaitOption = 0,
) -> None:
    """Bring some containers to their state and switch their services to a fresh release behind a health gate.

    Of several, the one that starts first goes alone; the rest follows only when its gate was passed.
    """
    inventory = inventory_of(context, root, site)
    wanted = frozenset(vmids_of(inventory, names))
    chosen = Selection(wanted, {})
    apply(inventory, chosen, wanted, yes=True, as_json=as_json, allow=allow or (), wait=wait, first_alone=True)
