"""``zentoria render``: what Zentoria would write elsewhere, as files to read or to take along."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of
from zentoria_infra.firewall.compile import compile_firewall
from zentoria_infra.firewall.parties import parties_of
from zentoria_infra.firewall.render import render
from zentoria_infra.guest.roles.rendering import Templates

render_app = typer.Typer(name="render", help="Print what would be written elsewhere, as files.", no_args_is_help=True)


class Form(enum.StrEnum):
    """Forms of a firewall."""

    PVE = "pve"
    IPTABLES = "iptables"
    NFT = "nft"


@render_app.callback()
def _render() -> None:
    """Print what would be written elsewhere, as files."""


@render_app.command("firewall")
def firewall(
    context: typer.Context,
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            "-f",
            help="pve: files as in /etc/pve/firewall. iptables, nft: for a gateway that routes between containers, "
            "to be read by iptables-restore and `nft -f`.",
        ),
    ] = Form.PVE,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write files there in place of printing them.")
    ] = None,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the firewall as Proxmox's files, or as a ruleset for a routed gateway."""
    inventory = inventory_of(context, root, site)
    files = render(compile_firewall(inventory), parties_of(inventory), form.value, Templates(inventory.root))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text)
    if as_json:
        output.document({"format": form.value, "folder": str(out) if out else None, "files": files})
    elif out is not None:
        output.lines(str(out / name) for name in files)
    elif len(files) == 1:
        output.text("".join(files.values()))
    else:
        output.text("\n".join(f"# ===== {name}\n{text}" for name, text in files.items()))
