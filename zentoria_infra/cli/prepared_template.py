"""Gives a lab that starts the prepared template of its site; what goes wrong with it is a note, and no more."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from zentoria_infra.cli import output
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.lab import power, prepared
from zentoria_infra.lab.registry import DEFAULT, Lab
from zentoria_infra.lab.site_overlay import SITE


def give(context: typer.Context, lab: Lab) -> None:
    """Put the template there; it is built when the machine has none of its name, and the lab has no containers yet."""
    if lab.guests != "lxc":
        return
    try:
        _give(context, lab)
    except (ZentoriaError, OSError) as error:
        output.note(f"the lab has no prepared template, so containers begin with Debian's own: {error}")


def _give(context: typer.Context, lab: Lab) -> None:
    # What reads an inventory is loaded for a lab that starts, and not for `lab status`.
    from zentoria_infra.cli.context import inventory_of, project_root
    from zentoria_infra.cli.site_run import site_run
    from zentoria_infra.cli.template_making import made_in
    from zentoria_infra.errors import InventoryError
    from zentoria_infra.execute.template_build import found

    try:
        root = project_root(context, None)
    except InventoryError:
        return  # a lab can be used without an inventory
    site = SITE if lab.name == DEFAULT else f"{SITE}:{lab.name}"
    inventory = inventory_of(context, root, site)
    name = found(inventory, prepared.sizes(lab.layout)).partition("/")[2]

    def build(file: Path) -> None:
        begun = time.monotonic()
        output.note(f"building the template {name} of the site; this happens once on this machine")
        with site_run(inventory) as at_work:
            made_in(inventory, at_work, file, yes=True, as_json=True, say=lambda text: None)
        output.note(f"template built: {file.stat().st_size // 2**20} MiB in {time.monotonic() - begun:.0f} s")

    prepared.provide(lab.layout, name, None if power.configurations(lab.layout) else build)
