"""``zentoria firewall``: proves the firewall, and answers questions about it. Nothing here changes anything."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Iterable
from typing import Annotated

import rich.console
import rich.measure
import rich.table
import rich.text
import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import (
    JsonOption,
    RootOption,
    SiteOption,
    complete_party,
    connect,
    inventory_of,
    layers_of,
    node_title,
    project_root,
)
from zentoria_infra.cli.firewall_words import (
    diff_lines,
    intents_data,
    proof_data,
    proof_lines,
    trace_data,
    trace_lines,
    why,
)
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.look.firewall_whole import Whole, observe_whole
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import Parties, parties_of
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.network import Network, assumed
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.firewall.proof.trace import trace
from zentoria_infra.firewall.sets.services import text as service_text
from zentoria_infra.firewall.show.flow_diff import diff_flows
from zentoria_infra.firewall.show.matrix import (
    Allowed,
    Matrix,
    Use,
    as_csv,
    as_data,
    as_markdown,
    matrix_of,
    port_words,
)
from zentoria_infra.firewall.show.matrix_svg import as_svg
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.site.revision import inventory_at

firewall_app = typer.Typer(
    name="firewall", help="The firewall: is it right, and who may reach whom. Changes nothing.", no_args_is_help=True
)

WORK_TREE = "the work tree"
HEAD = "HEAD"


_STYLES = {
    Use.UI: "yellow",
    Use.API: "green",
    Use.DATA: "blue",
    Use.METRICS: "magenta",
    Use.EGRESS: "red",
    Use.NETWORK: "dim",
}
"""Of ports on a terminal, by what they are for."""


ObservedOption = Annotated[
    bool, typer.Option("--observed", help="Judge what the node has now, in place of what would be written.")
]

_TARGET = re.compile(r"(?P<name>[A-Za-z0-9.-]+)(:(?P<port>\d{1,5}))?(/(?P<protocol>[A-Za-z0-9]+))?")


class MatrixFormat(enum.StrEnum):
    """How a matrix is printed."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    SVG = "svg"


@firewall_app.command("prove")
def prove_(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    observed: ObservedOption = False,
) -> None:
    """Prove that the firewall allows exactly what the flows say: for all addresses, protocols and ports.

    Leaves with 0 when it does, with 1 when it does not: each difference has the rule and the line to blame.
    """
    inventory = inventory_of(context, root, site)
    begun = time.monotonic()
    compiled, parties = compile_firewall(inventory), parties_of(inventory)
    configuration, addresses, of = None, None, "the compiled firewall"
    if observed:
        of = f"the firewall of {node_title(inventory.site)}"
        whole = _observed(inventory, quiet=as_json)
        configuration, addresses = whole.configuration, whole.addresses
        begun = time.monotonic()
    proof = prove(compiled, parties, configuration, addresses)
    seconds = time.monotonic() - begun
    if as_json:
        output.document({"of": of, "seconds": round(seconds, 3), **proof_data(proof)})
    else:
        output.lines([*proof_lines(proof, of), f"({seconds * 1000:.0f} ms)"])
    if not proof.holds:
        raise typer.Exit(ExitCode.FAILED)


def _observed(inventory: Inventory, *, quiet: bool) -> Whole:
    with connect(inventory.site) as proxmox:
        output.status(f"Looking at {node_title(inventory.site)} ...", quiet=quiet)
        whole = observe_whole(proxmox, inventory)
    if whole.machines:
        listed = ", ".join(map(str, whole.machines))
        output.note(f"Not looked at: virtual machines ({listed}). One on a bridge of ours could forge addresses.")
    return whole


@firewall_app.command("trace")
def trace_(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Who begins: a container, `internet`, `node`, `gateway`, `stranger`, or an IPv4 address.",
            autocompletion=complete_party,
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DESTINATION[:PORT][/PROTOCOL]",
            help="Whom it wants, as `db:5432`, `gateway:53/udp` or `db/icmp`; without a port: what is allowed at all.",
            autocompletion=complete_party,
        ),
    ],
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    observed: ObservedOption = False,
) -> None:
    """Say whether one may reach another: at which end it is decided, by which rule, from which line, and why.

    Leaves with 0 when it is allowed, with 1 when it is denied.
    """
    match = _TARGET.fullmatch(destination)
    if match is None:
        raise typer.BadParameter(f"'{destination}' is no DESTINATION[:PORT][/PROTOCOL] as db:5432 or gateway:53/udp")
    inventory = inventory_of(context, root, site)
    compiled, parties = compile_firewall(inventory), parties_of(inventory)
    configuration = _observed(inventory, quiet=as_json).configuration if observed else None
    one, other = _party(inventory, source), _party(inventory, match["name"])
    if match["port"] is None and match["protocol"] in (None, "tcp", "udp"):
        allowed = _all_ports(compiled, parties, one, other, configuration, as_json=as_json)
    else:
        port = int(match["port"]) if match["port"] else None
        found = trace(compiled, parties, one, other, match["protocol"] or "tcp", port, configuration)
        allowed = found.allowed
        if as_json:
            output.document(trace_data(found))
        else:
            output.lines(trace_lines(found))
    if not allowed:
        raise typer.Exit(ExitCode.FAILED)


def _party(inventory: Inventory, word: str) -> str:
    """A container by its name, its host name or its VMID; anything else stays what it is."""
    try:
        return inventory.by_name(word).name
    except KeyError:
        return word


def _all_ports(
    compiled: Compiled,
    parties: Parties,
    source: str,
    destination: str,
    configuration: Configuration | None,
    *,
    as_json: bool,
) -> bool:
    """Print everything that is allowed between two parties, and whether that is anything.

    Raises:
        TraceError: one of them is no party.
    """
    asked = trace(compiled, parties, source, destination, "tcp", 1, configuration)  # refuses what cannot be asked
    if (asked.source, asked.destination) != (source, destination):
        raise typer.BadParameter(f"with an address goes a port, as {destination}:443")
    services = Network(configuration or assumed(compiled), parties).matrix().get((source, destination), ())
    intents = [one for one in compiled.intents if (one.source, one.destination) == (source, destination)]
    if as_json:
        data = {"source": source, "destination": destination, "services": service_text(services)}
        output.document({**data, "allowed": bool(services), "intents": intents_data(intents)})
    else:
        verdict = f"ALLOWED: {source} -> {destination} {service_text(services)}"
        output.lines([verdict if services else f"DENIED: {source} -> {destination}, on every port", *why(intents)])
    return bool(services)


@firewall_app.command("matrix")
def matrix_(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    form: Annotated[
        MatrixFormat, typer.Option("--format", "-f", help="svg is a picture for documents; csv has one line a flow.")
    ] = MatrixFormat.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show who may reach whom, and on which ports: a row for each source, a column for each destination."""
    inventory = inventory_of(context, root, site)
    matrix = matrix_of(compile_firewall(inventory), parties_of(inventory), inventory)
    match MatrixFormat.JSON if as_json else form:
        case MatrixFormat.TABLE:
            _print_matrix(matrix)
        case MatrixFormat.MD:
            output.text(as_markdown(matrix))
        case MatrixFormat.CSV:
            output.text(as_csv(matrix))
        case MatrixFormat.JSON:
            output.document(as_data(matrix))
        case MatrixFormat.SVG:
            output.text(as_svg(matrix, f"{inventory.site.name}: who may reach whom"))


def _print_matrix(matrix: Matrix) -> None:
    """A grid where it fits, else one line a source."""
    console = rich.console.Console()
    grid = _grid(matrix)
    needed = rich.measure.Measurement.get(console, console.options.update(width=10_000), grid).maximum
    if not console.is_terminal:
        console.width = needed
    console.print(grid if needed <= console.width else _list(matrix))


def _grid(matrix: Matrix) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("from \\ to", style="bold", no_wrap=True)
    table.add_column("zone", style="dim", no_wrap=True)
    for column in matrix.columns:
        table.add_column(column.name, no_wrap=True)
    cells = matrix.cells()
    for row in matrix.rows:
        table.add_row(
            rich.text.Text(row.name),
            rich.text.Text(row.zone),
            *(
                rich.text.Text("·", style="dim")
                if row.name == column.name
                else _ports(cells.get((row.name, column.name), ()), "\n")
                for column in matrix.columns
            ),
        )
    return table


def _ports(items: Iterable[Allowed], between: str) -> rich.text.Text:
    """The ports of one cell in the colours of their uses."""
    return rich.text.Text(between).join(rich.text.Text(word, style=_STYLES[use]) for word, use in port_words(items))


def _list(matrix: Matrix) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("from", style="bold", no_wrap=True)
    table.add_column("to")
    cells = matrix.cells()
    for row in matrix.rows:
        reached = [
            rich.text.Text(f"{column.name} ").append_text(_ports(cells[row.name, column.name], ","))
            for column in matrix.columns
            if (row.name, column.name) in cells
        ]
        table.add_row(rich.text.Text(row.name), rich.text.Text("; ").join(reached))
    return table


@firewall_app.command("diff")
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(metavar="REV1", help="A commit, tag or branch.")] = HEAD,
    after: Annotated[
        str | None, typer.Argument(metavar="REV2", help="Another one. Default: the files as they are now.")
    ] = None,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Leave with 2 when flows were gained or lost (0: neither).")
    ] = False,
) -> None:
    """Show the flows gained and lost between two revisions of the project: what may talk, not how rules are written."""
    folder = project_root(context, root)
    name, overlay = layers_of(context, site)
    old = inventory_at(folder, before, name, overlay)
    new = inventory_at(folder, after, name, overlay) if after else inventory_of(context, root, site)
    found = diff_flows(old, new)
    if as_json:
        output.document(
            {
                "before": before,
                "after": after,
                "gained": [one.as_data() for one in found.gained],
                "lost": [one.as_data() for one in found.lost],
            }
        )
    else:
        output.lines(diff_lines(found, before, after or WORK_TREE))
    if detailed and not found.empty:
        raise typer.Exit(ExitCode.USAGE)
