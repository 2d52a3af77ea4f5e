"""``zentoria validate`` and ``zentoria inventory``: nothing is contacted, nothing is changed."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of, site_name
from zentoria_infra.cli.firewall_words import proof_lines
from zentoria_infra.errors import ExitCode
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.problems import InvalidInventoryError
from zentoria_infra.inventory.schema import SchemaName, schema

inventory_app = typer.Typer(help="The inventory's files.", no_args_is_help=True)


def validate(
    context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Check the inventory: every problem, with its file, line and column.

    With it the assertions in zones.yaml, and the proof that the firewall allows what the flows say and nothing else.
    """
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
    proof = prove(compile_firewall(inventory), parties_of(inventory))
    if as_json:
        problems = [
            {"file": at.file, "line": at.line, "column": at.column, "message": one.explanation}
            for one in proof.differences
            for at in [one.position]
        ]
        told = {"holds": proof.holds, "pairs": proof.pairs, "intervals": proof.intervals}
        output.document(
            {"valid": proof.holds, "site": inventory.site.id, "problems": problems, **found, "firewall": told}
        )
    elif proof.holds:
        counts = ", ".join(
            f"{count} {words.replace('_', ' ')}" for words, count in found.items() if words != "assertions"
        )
        output.lines(
            [
                f"The inventory is valid. Site '{site_name(context, site)}': {counts}.",
                f"All {len(inventory.assertions)} assertions hold. The firewall is proven: "
                f"{proof.pairs} pairs, {proof.intervals} intervals of ports, 0 missing, 0 extra.",
            ]
        )
    else:
        output.lines(proof_lines(proof, "the compiled firewall"))
    if not proof.holds:
        raise typer.Exit(ExitCode.INVALID)


def _summary(inventory: Inventory) -> dict[str, int]:
    rows = sum(flow.row is not None for flow in inventory.flows)
    return {
        "containers": len(inventory.containers),
        "zones": len(inventory.zones),
        "flows_of_the_matrix": rows,
        "derived_flows": len(inventory.flows) - rows,
        "exact_flows": len(expand_flows(inventory)),
        "assertions": len(inventory.assertions),
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
