"""``zentoria render``: what Zentoria would write elsewhere, as files to read or to take along."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, inventory_of, inventory_offline
from zentoria_infra.errors import ExitCode
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.show.render import render
from zentoria_infra.render.check import Checked, Level, check_tree, say
from zentoria_infra.render.tree import FIREWALL, Tree, render_tree
from zentoria_infra.roles.kit.rendering import Templates

render_app = typer.Typer(name="render", help="What would be written elsewhere, as files: check it, or print it.")


class Form(enum.StrEnum):
    """Forms of a firewall."""

    PVE = "pve"
    IPTABLES = "iptables"
    NFT = "nft"


@render_app.callback(invoke_without_command=True)
def render_(
    context: typer.Context,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check each file by the tool that knows it best, where that is on this machine."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write them there, a folder for each guest.")
    ] = None,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Render every template and every guest's files from the inventory, with stand-ins for what is secret or fetched.

    With --check each file is judged: by NGINX, systemd, sshd and so on where they are installed, else by a parser;
    what was only parsed, and what nothing here knows, is named. Needs no network, no keys and no node.
    """
    if context.invoked_subcommand is not None:
        if check or out is not None or as_json:
            raise typer.BadParameter(f"options of `render` go after `{context.invoked_subcommand}`")
        return
    if not check and out is None:
        output.text(f"{context.get_help()}\n")
        return
    tree = render_tree(inventory_offline(context, root, site))
    checked = check_tree(tree) if check else ()
    if out is not None:
        _write(tree, out)
    failed = [*tree.errors, *(one for one in checked if one.level is Level.FAILED)]
    if as_json:
        output.document(_data(tree, checked, out))
    else:
        output.lines(_lines(tree, checked, out))
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _write(tree: Tree, folder: Path) -> None:
    for one in tree.files:
        path = folder / one.guest / one.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text)


def _lines(tree: Tree, checked: Sequence[Checked], out: Path | None) -> Iterator[str]:
    guests = len({one.guest for one in tree.files} - {FIREWALL})
    yield f"{len(tree.files)} files rendered, of {guests} guests and the firewall" + (f", in {out}" if out else "")
    if tree.extra:
        yield f"  with other settings than the site's, which ask for them: {', '.join(tree.extra)}"
    for guest, path in tree.downloads:
        yield f"  not looked at, since a run would download it: {guest}:{path}"
    yield from say(checked)
    yield from (f"error: {error}" for error in tree.errors)


def _data(tree: Tree, checked: Sequence[Checked], out: Path | None) -> dict[str, Any]:
    known = {id(one.file): one for one in checked}
    files = []
    for one in tree.files:
        row: dict[str, Any] = {"guest": one.guest, "path": one.path, "template": one.template}
        if (found := known.get(id(one))) is not None:
            row |= {"level": found.level.value, "by": found.by, "wants": found.wants, "said": found.said}
        files.append(row)
    return {
        "folder": str(out) if out else None,
        "files": files,
        "errors": list(tree.errors),
        "downloads": [f"{guest}:{path}" for guest, path in tree.downloads],
        "rendered_with_other_settings": list(tree.extra),
    }


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
