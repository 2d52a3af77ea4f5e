"""``zentoria models``: which models the stack serves, whether they are there, and bringing or removing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, YesOption, connect, inventory_of
from zentoria_infra.cli.models_shown import bring
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.models import Found, Placed, inside, look_at, placed
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.wording import nearest
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.roles.catalog import is_built

models_app = typer.Typer(no_args_is_help=True, help="Models that the stack serves: list, pull, remove.")
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models, by the names that the inventory gives them. Default: all."),
]


@models_app.command("list")
def list_(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Show the models that services serve, and whether they are there. Changes nothing."""
    inventory = inventory_of(context, root, site)
    chosen = _chosen(inventory, None)
    with connect(inventory.site) as proxmox:
        _require_inside(inventory, proxmox)
        found = look_at(proxmox, chosen)
    if as_json:
        output.document({"models": [_data(one) for one in found]})
        return
    rows = [("model", "for", "container", "size", "licence", "state"), *(_row(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    output.lines("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


@models_app.command("pull")
def pull(
    context: typer.Context,
    names: NamesArgument = None,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring models that are not there. It goes on where it stopped; `up` does it too, as its last thing."""
    inventory = inventory_of(context, root, site)
    chosen = _chosen(inventory, names)
    with connect(inventory.site) as proxmox:
        _require_inside(inventory, proxmox)
        lacking = bring(proxmox, chosen, as_json=as_json)
    if not as_json and not lacking:
        output.note(f"There: {', '.join(dict.fromkeys(one.name for one in chosen)) or 'no model is asked for'}.")
    if lacking:
        raise typer.Exit(ExitCode.FAILED)


@models_app.command("remove")
def remove(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, by the inventory's names.")],
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove models from their containers. The next `up` brings those back that the inventory still has."""
    inventory = inventory_of(context, root, site)
    chosen = _chosen(inventory, names)
    with connect(inventory.site) as proxmox:
        _require_inside(inventory, proxmox)
        output.confirm(f"Remove {', '.join(f'{one.name} from {one.container.name}' for one in chosen)}?", yes)
        removed = []
        for one in chosen:
            with inside(proxmox, one.container) as guest:
                removed.append((one, guest.remove(one)))
    if as_json:
        output.document({"removed": [one.name for one, was in removed if was]})
        return
    output.lines(f"{one.name}: {'removed' if was else 'was not there'}" for one, was in removed)


def _chosen(inventory: Inventory, names: Sequence[str] | None) -> tuple[Placed, ...]:
    """Models of services that are installed.

    Raises:
        RefusedError: a name is no model that is served.
    """
    known = tuple(one for one in placed(inventory) if is_built(one.service.component))
    if not names:
        return known
    for name in names:
        if name not in {one.name for one in known}:
            listed = ", ".join(dict.fromkeys(one.name for one in known)) or "none"
            raise RefusedError(
                f"find the model {name}",
                got=f"no service serves it{nearest(name, [one.name for one in known])}; there are: {listed}",
                todo="say it at a service: `models: {chat: NAME}`, of those that the site's `models` describe",
            )
    return tuple(one for one in known if one.name in names)


def _require_inside(inventory: Inventory, proxmox: Proxmox) -> None:
    if missing := GuestsInside(inventory, proxmox).missing:
        raise RefusedError(
            "look for models", got=missing, todo="`zentoria bootstrap`, and `proxmox.ssh` in the site's file"
        )


def _row(found: Found) -> tuple[str, ...]:
    one = found.placed
    size = f"{one.model.size >> 20} MiB" if one.model.files else one.model.pull or ""
    return (one.name, ", ".join(one.purposes), one.container.name, size, one.model.licence, _state(found))


def _state(found: Found) -> str:
    if found.unknown:
        return f"not known: {found.unknown}"
    if found.there:
        return "there"
    came = found.placed.model.size - found.lacks
    return f"not there ({came >> 20} MiB of it came)" if found.placed.model.files and came else "not there"


def _data(found: Found) -> dict[str, Any]:
    one = found.placed
    return {
        "model": one.name, "purposes": list(one.purposes), "container": one.container.name, "service": one.service.name,
        "size": one.model.size or None, "pull": one.model.pull, "licence": one.model.licence,
        "context": one.model.context, "dimension": one.model.dimension, "there": found.there,
        "lacks": found.lacks, "unknown": found.unknown or None,
    }  # fmt: skip
