"""``zentoria rag``: the search index of documents, from the workstation."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of
from zentoria_infra.execute.service_program import ServiceProgram, program_of

rag_app = typer.Typer(no_args_is_help=True, help="Documents and their search index.")
SECONDS = 24 * 3600.0
"""That a new model may take for all documents of a site."""


@rag_app.callback()
def group() -> None:
    """Documents and their search index."""


@rag_app.command("reindex")
def reindex(
    context: typer.Context,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove the vectors of models that answer no more.")
    ] = False,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the search index anew from the database, and go over to the inventory's embedding model.

    Searches are answered all the while. Interrupted and run again, it goes on where it was.
    """
    inventory = inventory_of(context, root, site)
    with connect(inventory.site) as proxmox:
        program = program_of(inventory, proxmox, "rag", tried="make the search index anew")
        deployment_of(inventory, proxmox, firewall=False).require_ours(program.container.vmid)
        run(program, drop_old=drop_old, as_json=as_json)


def run(program: ServiceProgram, *, drop_old: bool, as_json: bool) -> None:
    """Have it done in the guest, and say what came of it."""
    arguments = ("reindex", "--drop-old") if drop_old else ("reindex",)
    found = program.json(*arguments, tried="make the search index anew", seconds=SECONDS)
    if as_json:
        output.document(found)
        return
    before = "" if found["model"] == found["before"] else f" in place of {found['before']}"
    output.lines([
        f"{found['model']} answers{before}: {found['embedded']} embedded, {found['indexed']} put into the index, "
        f"{found['removed']} files removed from it, {found['dropped']} old vectors removed"
    ])  # fmt: skip
