"""``zentoria observe``: what is there, as a file without secrets to plan against elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import RootOption, SiteOption, connect, inventory_of, node_title
from zentoria_infra.plan.saved.state_file import InvalidFileError, ObservedState, dump, read_state, state_of


def observe(
    context: typer.Context,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; `-` prints it.")],
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Write what is there to a file without secrets, for `plan --offline --state FILE` elsewhere. Changes nothing."""
    from zentoria_infra.cli.applying import deployment_of
    from zentoria_infra.execute.recipe import recipes

    inventory = inventory_of(context, root, site)
    output.status(f"Looking at {node_title(inventory.site)} ...", quiet=out == "-")
    with connect(inventory.site) as proxmox:
        deployment = deployment_of(inventory, proxmox)
        world = deployment.observe()
    if world.firewall is None:
        output.note(f"the firewall could not be read: {world.firewall_unknown}")
    for vmid, check in sorted(world.guests.items()):
        if check.report is None:
            output.note(f"inside of container {vmid}: unknown, {check.unknown}")
    looked = [vmid for vmid, check in world.guests.items() if check.report is not None]
    output.save(out, dump(state_of(world, deployment.desired, inventory.site.id, recipes(inventory, looked))))


def state_from(file: Path) -> ObservedState:
    """Read a state file.

    Raises:
        InvalidFileError: it cannot be read, or is none.
    """
    return read_state(content_of(file, "state file"), str(file))


def content_of(file: Path, kind: str) -> bytes:
    """The content of a file that Zentoria wrote.

    Raises:
        InvalidFileError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidFileError(
            f"read the {kind}", on=str(file), got=error.strerror or str(error), todo="name a file that can be read"
        ) from None
