"""Commands about single containers: status, exec, logs."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import rich.console
import rich.table
import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    complete_container,
    connect,
    inventory_of,
    node_title,
)
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.look.status import ContainerStatus, read_orphans, read_status
from zentoria_infra.plan.selection import vmids_of
from zentoria_infra.plan.show.explain import told_orphan
from zentoria_infra.proxmox.shell.stream import PctSession

PATIENCE = 7 * 24 * 3600
"""Seconds that a command inside may take, or be silent: the user is there to end it."""

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME|VMID", help="The container, as `db` or `404`.", autocompletion=complete_container),
]


def status(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every container of the inventory: is it there, is it ours, does it run, are its units active."""
    inventory = inventory_of(context, root, site)
    with connect(inventory.site) as proxmox:
        rows = read_status(inventory, proxmox)
        orphans = read_orphans(inventory, proxmox)
    if as_json:
        output.document({"node": inventory.site.proxmox.node, "containers": [row.as_data() for row in rows],
                         "orphans": [dataclasses.asdict(one) for one in orphans]})  # fmt: skip
    else:
        _table(node_title(inventory.site), rows)
        output.lines(f"? {told_orphan(one)}" for one in orphans)
    if not all(row.good for row in rows):
        raise typer.Exit(ExitCode.FAILED)


def _table(title: str, rows: tuple[ContainerStatus, ...]) -> None:
    table = rich.table.Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    for name in ("vmid", "name", "zone", "address", "status", "firewall", "services"):
        table.add_column(name, no_wrap=name != "services")
    for row in rows:
        style = "" if row.good else "red"
        table.add_row(
            str(row.vmid), row.name, row.zone, row.address, row.status, row.firewall, row.services, style=style
        )
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def exec_(
    context: typer.Context,
    name: NameArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The command and its arguments.")],
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Run a command in a container as root and leave with its exit code; input is passed on when it is no terminal."""
    inventory = inventory_of(context, root, site)
    (vmid,) = vmids_of(inventory, [name])
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise typer.BadParameter("which command? zentoria exec NAME -- COMMAND...")
    with connect(inventory.site) as proxmox:
        deployment_of(inventory, proxmox, firewall=False).require_ours(vmid)
        stdin = None if sys.stdin.isatty() else sys.stdin.buffer.read()
        result = proxmox.pct.exec(vmid, argv, stdin=stdin, timeout=PATIENCE)
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.flush()
    raise typer.Exit(result.exit)


def logs(
    context: typer.Context,
    name: NameArgument,
    unit: Annotated[list[str] | None, typer.Option("--unit", "-u", help="Only these systemd units.")] = None,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come.")] = False,
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Show the journal of a container."""
    inventory = inventory_of(context, root, site)
    (vmid,) = vmids_of(inventory, [name])
    command = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={count}"]
    command += [f"--unit={one}" for one in unit or ()]
    with connect(inventory.site) as proxmox:
        deployment_of(inventory, proxmox, firewall=False).require_ours(vmid)
        if follow:
            with proxmox.pct.session(vmid, [*command, "--follow"], PATIENCE) as session:
                _stream(session)
            return
        result = proxmox.pct.exec(vmid, command)
    sys.stdout.write(result.stdout.decode(errors="replace"))
    if result.exit:
        output.problem(result.stderr.decode(errors="replace").strip())
        raise typer.Exit(ExitCode.FAILED)


def _stream(session: PctSession) -> None:
    try:
        while line := session.read_line(PATIENCE):
            sys.stdout.write(line.decode(errors="replace"))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return
