"""``zentoria verify``: holds what is declared against reality. Nothing of it stays in the guests."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import rich.console
import rich.table
import rich.text
import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, complete_container, connect, inventory_of
from zentoria_infra.errors import ExitCode, RefusedError, ZentoriaError
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.look.firewall_whole import observe_whole
from zentoria_infra.execute.look.verify_firewall import Heard, Reality, verify_firewall
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.probe.planning import SAMPLE, probe_plan
from zentoria_infra.firewall.probe.probes import Probe, ProbeKind
from zentoria_infra.firewall.probe.reasons import reasons
from zentoria_infra.firewall.probe.verdicts import Judged, Verdict
from zentoria_infra.firewall.proof.network import Network, assumed
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.selection import vmids_of
from zentoria_infra.proxmox.client import Proxmox

verify_app = typer.Typer(name="verify", help="Hold what is declared against reality.", no_args_is_help=True)

SHOWN = 40
"""Groups of mismatches that are printed; --json has them all."""

FEW = 5
"""Containers that are named, where more are counted."""

GRID = 40
"""Guests up to which there is a grid of them."""

PHASES = {
    "look": "Looking at the containers",
    "listen": "Listeners stand up",
    "probe": "Probing",
    "collect": "Asking what came in",
}


@verify_app.callback()
def _verify() -> None:
    """Hold what is declared against reality."""


@verify_app.command("firewall")
def firewall(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Only what begins or ends at these containers.",
            autocompletion=complete_container,
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="How many undeclared connections each container tries, at most.")
    ] = SAMPLE,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn at random; the same one tries the same.")] = 0,
) -> None:
    """Try from inside every container what is declared, and a sample of what is not: is the firewall as declared?

    Listeners stand in for a moment where no service listens: not while `up` is at work, which starts services there.
    Forged source addresses are tried too, and the node.
    Leaves with 0 when all is as declared, with 1 when something is not, or when a container could not take part.
    """
    inventory = inventory_of(context, root, site)
    only = [inventory.by_vmid(vmid).name for vmid in vmids_of(inventory, names)] if names else None
    compiled, parties = compile_firewall(inventory), parties_of(inventory)
    plan = probe_plan(inventory, compiled, parties, sample=sample, seed=seed, only=only)
    with connect(inventory.site) as proxmox:
        if missing := GuestsInside(inventory, proxmox).missing:
            raise RefusedError(
                "verify the firewall from inside the containers",
                got=missing,
                todo="set `proxmox.ssh` in the site file; `zentoria firewall prove --observed` does without",
            )
        with _progress() as heard:
            reality = verify_firewall(proxmox, inventory, plan, heard)
        rules = _Reasons(Network(assumed(compiled), parties))
        if reality.mismatches:
            rules.look(proxmox, inventory)
    if as_json:
        output.document({"seed": seed, "sample": sample, **as_data(reality, rules)})
    else:
        _show(inventory, reality, rules)
    if not reality.good:
        raise typer.Exit(ExitCode.FAILED)


class _Reasons:
    """Says which rules decide about a probe: as they are declared, and as the node has them."""

    def __init__(self, declared: Network) -> None:
        self._declared = declared
        self._node: Network | None = None
        self._unread = ""

    def look(self, proxmox: Proxmox, inventory: Inventory) -> None:
        """Read the node's firewall."""
        try:
            self._node = Network(observe_whole(proxmox, inventory).configuration, self._declared.parties)
        except ZentoriaError as error:
            self._unread = str(error).splitlines()[0]

    def __call__(self, one: Judged) -> Iterator[str]:
        """What decides about a mismatch."""
        if self._node is not None:
            passes, lines = reasons(self._node, one.probe)
            yield from (f"on the node: {line}" for line in lines)
            if passes != (one.verdict is Verdict.OPEN):
                yield "so its rules say otherwise: they are in force after its next cycle (10 s), or are not enforced"
        elif self._unread:
            yield f"the node's firewall cannot be read: {self._unread}"
        yield from (f"as declared: {line}" for line in reasons(self._declared, one.probe)[1])


@contextmanager
def _progress() -> Iterator[Heard]:
    """Shows on a terminal what is going on, and wipes it off at the end."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, of: None
        return
    with console.status("") as status:
        yield lambda what, done, of: status.update(f"{PHASES[what]}: {done} of {of} containers")


def as_data(reality: Reality, why: _Reasons) -> dict[str, Any]:
    """What came out, as plain data."""
    judged = [one for one in reality.judged if one.verdict is not Verdict.AS_DECLARED]
    return {
        "as_declared": reality.good,
        "seconds": round(reality.seconds, 3),
        "containers": len(reality.plan.guests),
        "absent": dict(reality.absent),
        "counts": counts(reality.judged),
        "mismatches": [{**_judged_data(one), "rules": list(why(one))} for one in judged if one.is_mismatch],
        "not_judged": [_judged_data(one) for one in judged if not one.is_mismatch],
        "not_tried": [
            {"key": intent.key, "at": str(intent.position), "why": why} for intent, why in reality.plan.untried
        ],
    }


def counts(judged: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """How many probes of each kind came out how."""
    found = Counter((one.probe.kind, one.verdict) for one in judged)
    kinds = [kind for kind in ProbeKind if kind is not ProbeKind.CONTROL]
    return {
        kind.value: {
            "tried": sum(found[kind, verdict] for verdict in Verdict),
            **{verdict.value: found[kind, verdict] for verdict in Verdict},
        }
        for kind in kinds
    }


def _judged_data(one: Judged) -> dict[str, Any]:
    probe = one.probe
    data: dict[str, Any] = {
        "verdict": one.verdict.value,
        "kind": probe.kind.value,
        "source": probe.source,
        "target": probe.target,
        "address": probe.address,
        "protocol": probe.protocol,
        "port": probe.port,
        "why": one.why,
    }
    if probe.key:
        data["key"] = probe.key
    if probe.claimed:
        data |= {"claimed": probe.claimed, "claimed_address": probe.source_address}
    return data


def _show(inventory: Inventory, reality: Reality, why: _Reasons) -> None:
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    names = [guest.name for guest in reality.plan.guests]
    if len(names) <= GRID:
        console.print(_grid(inventory, names, reality))
        console.print("Rows try columns. A number: declared ports that are open; ·: nothing is,")
        console.print("as declared; !: mismatches; ?: not judged.\n")
    output.lines(_mismatch_lines(reality.mismatches, why))
    console.print(_totals(reality))
    output.lines(_last_lines(reality))


def _grid(inventory: Inventory, names: Sequence[str], reality: Reality) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(str(inventory.by_name(name).vmid), justify="right", no_wrap=True)
    cells: dict[tuple[str, str], list[Judged]] = {}
    for one in reality.judged:
        cells.setdefault((one.probe.source, one.probe.target), []).append(one)
    for source in names:
        row = [_cell(cells.get((source, target), ())) for target in names]
        table.add_row(f"{inventory.by_name(source).vmid} {source}", *row)
    return table


def _cell(judged: Sequence[Judged]) -> rich.text.Text:
    if bad := sum(one.is_mismatch for one in judged):
        return rich.text.Text(f"!{bad}", style="bold red")
    if any(one.verdict is Verdict.UNJUDGED for one in judged):
        return rich.text.Text("?", style="yellow")
    if good := sum(one.probe.kind is ProbeKind.DECLARED for one in judged):
        return rich.text.Text(str(good), style="green")
    return rich.text.Text("·" if judged else "", style="dim")


def _totals(reality: Reality) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True, min_width=10)
    columns = ["tried", *(verdict.value for verdict in Verdict)]
    for column in columns:
        table.add_column(column, justify="right")
    bad = (Verdict.BLOCKED.value, Verdict.OPEN.value)
    for kind, row in counts(reality.judged).items():
        cells = [rich.text.Text(str(row[one]), style="bold red" if one in bad and row[one] else "") for one in columns]
        table.add_row(kind, *cells)
    return table


def _mismatch_lines(mismatches: Sequence[Judged], why: _Reasons) -> Iterator[str]:
    """One for each pair and verdict, with all of its ports, and what decides about the first of them."""

    def group(one: Judged) -> tuple[str, ...]:
        return one.verdict.value, one.probe.kind.value, one.probe.source, one.probe.target, one.probe.claimed, one.why

    groups = [list(found) for _, found in itertools.groupby(sorted(mismatches, key=group), key=group)]
    for found in groups[:SHOWN]:
        yield f"{_title(found)}: {found[0].verdict.value} ({found[0].why})"
        yield from (f"    {line}" for line in why(found[0]))
    if len(groups) > SHOWN:
        yield f"... and {len(groups) - SHOWN} more of this kind; --json has them all"
    if groups:
        yield ""


def _title(found: Sequence[Judged]) -> str:
    probe = found[0].probe
    claim = f" as {probe.claimed} ({probe.source_address})" if probe.claimed else ""
    return f"{probe.source}{claim} -> {probe.target} {_ports([one.probe for one in found])}"


def _ports(probes: Sequence[Probe]) -> str:
    found = sorted({(probe.protocol, probe.port) for probe in probes})
    shown = [f"{protocol} {port}" for protocol, port in found[:8]]
    return ", ".join(shown) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def _last_lines(reality: Reality) -> Iterator[str]:
    yield ""
    for name, why in reality.absent.items():
        yield f"{name} takes no part: {why}"
    unjudged: dict[tuple[str, str], list[str]] = {}
    for one in reality.judged:
        if one.verdict is Verdict.UNJUDGED and not {one.probe.source, one.probe.target} & set(reality.absent):
            unjudged.setdefault((one.probe.target, one.why), []).append(one.probe.source)
    for (target, reason), sources in unjudged.items():
        who = ", ".join(dict.fromkeys(sources)) if len(set(sources)) <= FEW else f"{len(set(sources))} containers"
        yield f"{who} -> {target}: {len(sources)} not judged: {reason}"
    for intent, why in reality.plan.untried:
        yield f"{intent.source} -> {intent.destination} {intent.protocol} not tried: {why} ({intent.key})"
    took = f"{len(reality.judged)} probes in {len(reality.plan.guests)} containers, {reality.seconds:.1f} s"
    if reality.good:
        left = sum(one.verdict is Verdict.UNJUDGED for one in reality.judged)
        yield f"All as declared: {took}" + (f"; {left} not judged." if left else ".")
    else:
        absent = f", {len(reality.absent)} containers took no part" if reality.absent else ""
        yield f"NOT as declared: {len(reality.mismatches)} mismatches{absent}; {took}."
