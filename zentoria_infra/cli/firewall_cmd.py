"""``zentoria firewall``: proves the firewall, and answers questions about it. Nothing here changes anything."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from typing import Annotated, Any

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
    connect,
    inventory_of,
    layers_of,
    node_title,
    project_root,
)
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.firewall_whole import observe_whole
from zentoria_infra.execute.revision import inventory_at
from zentoria_infra.firewall.compile import compile_firewall
from zentoria_infra.firewall.flow_diff import FlowDiff, Reach, diff_flows
from zentoria_infra.firewall.matrix import (
    Allowed,
    Matrix,
    Use,
    as_csv,
    as_data,
    as_markdown,
    matrix_of,
    port_words,
)
from zentoria_infra.firewall.matrix_svg import as_svg
from zentoria_infra.firewall.parties import parties_of
from zentoria_infra.firewall.prove import Difference, Proof, prove
from zentoria_infra.firewall.steps import rule_text

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
    observed: Annotated[
        bool, typer.Option("--observed", help="Prove what the node has now, in place of what would be written.")
    ] = False,
) -> None:
    """Prove that the firewall allows exactly what the flows say: for all addresses, protocols and ports.

    Leaves with 0 when it does, with 1 when it does not: each difference has the rule and the line to blame.
    """
    inventory = inventory_of(context, root, site)
    begun = time.monotonic()
    compiled, parties = compile_firewall(inventory), parties_of(inventory)
    configuration, of = None, "the compiled firewall"
    if observed:
        of = f"the firewall of {node_title(inventory.site)}"
        with connect(inventory.site) as proxmox:
            output.status(f"Looking at {node_title(inventory.site)} ...", quiet=as_json)
            whole = observe_whole(proxmox, inventory)
        configuration = whole.configuration
        if whole.machines:
            listed = ", ".join(map(str, whole.machines))
            output.note(f"Not looked at: virtual machines ({listed}). One on a bridge of ours could forge addresses.")
        begun = time.monotonic()
    proof = prove(compiled, parties, configuration)
    seconds = time.monotonic() - begun
    if as_json:
        output.document({"of": of, "seconds": round(seconds, 3), **proof_data(proof)})
    else:
        output.lines([*proof_lines(proof, of), f"({seconds * 1000:.0f} ms)"])
    if not proof.holds:
        raise typer.Exit(ExitCode.FAILED)


def proof_data(proof: Proof) -> dict[str, Any]:
    """A proof as plain data, for JSON."""
    return {
        "holds": proof.holds,
        "pairs": proof.pairs,
        "not_judged": proof.not_judged,
        "intervals": proof.intervals,
        "differences": [
            {
                "kind": one.kind.value,
                "source": one.source,
                "destination": one.destination,
                "services": one.services,
                "vmid": one.vmid,
                "rule": rule_text(one.rule) if one.rule is not None else None,
                "rule_position": one.rule_position,
                "at": str(one.position),
                "explanation": one.explanation,
            }
            for one in proof.differences
        ],
    }


def proof_lines(proof: Proof, of: str) -> list[str]:
    """A proof in words: the differences, then the totals."""
    found = [line for one in proof.differences for line in _difference(one)]
    judged = f"{proof.pairs} pairs judged, {proof.intervals} intervals of ports allowed"
    if proof.holds:
        return [f"Proven: {of} allows what the flows say, and nothing else.", f"{judged}; 0 missing, 0 extra."]
    counts: dict[str, int] = {}
    for one in proof.differences:
        counts[one.kind.value] = counts.get(one.kind.value, 0) + 1
    totals = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [*found, f"NOT proven: {of} differs from the flows: {totals}.", f"{judged}."]


def _difference(one: Difference) -> list[str]:
    pair = f"{one.source} -> {one.destination}" if one.destination else one.source
    lines = [" ".join(word for word in (f"{one.kind}:", pair, one.services) if word), f"    {one.explanation}"]
    if one.rule is not None:
        place = f" (position {one.rule_position})" if one.rule_position is not None else ""
        lines.append(f"    rule: {rule_text(one.rule)}{place}")
    return [*lines, f"    said in {one.position}"]


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
        output.lines(_diff_lines(found, before, after or WORK_TREE))
    if detailed and not found.empty:
        raise typer.Exit(ExitCode.USAGE)


def _diff_lines(found: FlowDiff, before: str, after: str) -> list[str]:
    if found.empty:
        return [f"No flow gained or lost between {before} and {after}."]
    told = [("+", one) for one in found.gained] + [("-", one) for one in found.lost]
    width = max(len(str(one)) for _, one in told)
    totals = f"{len(found.gained)} gained, {len(found.lost)} lost between {before} and {after}."
    return [*(f"{sign} {one!s:{width}}  {_reason(one)}" for sign, one in told), totals]


def _reason(one: Reach) -> str:
    return f"{one.purpose} ({one.origin}), {one.position}"
