"""``zentoria template``: the site's prepared template, from which new containers are made."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.administrator import SECRET_VARIABLE, administrator
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    YesOption,
    endpoint_of,
    inventory_of,
)
from zentoria_infra.cli.site_run import WaitOption, site_run
from zentoria_infra.cli.template_making import made_in
from zentoria_infra.errors import PermissionDeniedError
from zentoria_infra.execute import template_build
from zentoria_infra.proxmox.connection import Connection
from zentoria_infra.proxmox.upload import upload_template

template_app = typer.Typer(
    name="template", help="The site's prepared template, from which new containers are made.", no_args_is_help=True
)


@template_app.command()
def build(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    name: Annotated[
        str, typer.Option("--in", metavar="NAME", help="The container to make it in; it must not exist yet.")
    ] = "",
    admin: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="USER",
            help="Who uploads it: `root@pam`, or a token as `root@pam!name`. Zentoria's own "
            "token may not: it could replace templates of others.",
        ),
    ] = "root@pam",
    from_stdin: Annotated[
        bool,
        typer.Option(
            "--secret-stdin",
            help=f"Read that user's password or token secret from standard input (else ${SECRET_VARIABLE}, "
            "else it is asked for).",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write it to a folder instead of uploading it: somebody else copies it."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Build it though it is there: with packages of today.")
    ] = False,
    wait: WaitOption = 0,
) -> None:
    """Build the template of the site, and upload it: `up` makes new containers from it, which is faster.

    It is the site's `template` with the Debian packages that all containers have. Its name holds the hash of that.
    """
    inventory = inventory_of(context, root, site)
    what = template_build.of_site(inventory)
    with site_run(inventory, wait=wait) as at_work:
        templates = {one.volid: one.size for one in at_work.proxmox.observe.templates(what.storage)}
        volid = template_build.found(inventory, templates)
        if volid in templates and not again:
            _tell(volid, built=False, as_json=as_json, out=out)
            return
        who = administrator(inventory, admin, from_stdin) if out is None else None
        with tempfile.TemporaryDirectory(prefix="zentoria-template-") as place:
            file = (out or Path(place)) / volid.partition("/")[2]
            made_in(inventory, at_work, file, yes=yes, as_json=as_json, name=name)
            if who is not None:
                output.status(f"Uploading {file.stat().st_size // 2**20} MiB ...", quiet=as_json)
                with closing(Connection(endpoint_of(inventory.site), who)) as connection:
                    try:
                        upload_template(connection, file, what.storage)
                    except PermissionDeniedError as error:
                        error.todo = f"let somebody with Datastore.AllocateTemplate on /storage/{what.storage} do it"
                        raise
    _tell(volid, built=True, as_json=as_json, out=out)


def _tell(volid: str, *, built: bool, as_json: bool, out: Path | None = None) -> None:
    if as_json:
        output.json_line({"event": "template", "template": volid, "built": built})
    elif out is not None and not built:
        output.lines([f"{volid} is there already: nothing was written to {out}; `--again` builds it all the same"])
    elif out is not None:
        output.lines(
            [f"{volid.partition('/')[2]} is in {out}: copy it to the node's storage {volid.partition(':')[0]}"]
        )
    else:
        output.lines([f"{volid} {'was built' if built else 'is there already'}: new containers are made from it"])
