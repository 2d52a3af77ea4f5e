"""``zentoria validate`` and ``zentoria inventory``: nothing is contacted, nothing is changed."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of, site_name
from zentoria_infra.errors import ExitCode
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.problems import InvalidInventoryError
from zentoria_infra.inventory.schema import SchemaName, schema

inventory_app = typer.Typer(help="The inventory's files.", no_args_is_help=True)


def validate(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Check the inventory: every problem, with its file, line and column."""
    try:
        inventory = inventory_of(context, root, site)
    except InvalidInventoryError as error:
        if not as_json:
            raise
        problems = [
            {"file": item.file, "line": item.line, "column": item.column, "message": item.message}
            for item in error.problems
        ]
        output.document({"valid": False, "problems": problems})
        raise typer.Exit(ExitCode.INVALID) from None
    found = _summary(inventory)
    if as_json:
        output.document({"valid": True, "site": inventory.site.id, "problems": [], **found})
        return
    counts = ", ".join(f"{count} {words.replace('_', ' ')}" for words, count in found.items())
    output.lines([f"The inventory is valid. Site '{site_name(context, site)}': {counts}."])


def _summary(inventory: Inventory) -> dict[str, int]:
    rows = sum(flow.row is not None for flow in inventory.flows)
    return {
        "containers": len(inventory.containers),
        "zones": len(inventory.zones),
        "flows_of_the_matrix": rows,
        "derived_flows": len(inventory.flows) - rows,
        "exact_flows": len(expand_flows(inventory)),
        "MiB_of_memory": sum(container.resources.memory for container in inventory.containers),
    }


@inventory_app.callback()
def _inventory() -> None:
    """The inventory's files."""


@inventory_app.command("schema")
def print_schema(
    kind: Annotated[SchemaName, typer.Argument(help="Which file the schema is for.")] = "container",
) -> None:
    """Print the JSON Schema of a container's file, site.yaml, an overlay of it, or zones.yaml."""
    output.document(schema(kind))
