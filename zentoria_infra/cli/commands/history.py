"""``zentoria history``: the runs of a site. ``zentoria lock``, ``zentoria unlock``: who is at work on it now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import rich.console
import rich.table
import typer
from pydantic import ValidationError

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, YesOption, connect, inventory_of
from zentoria_infra.errors import RefusedError, ZentoriaError
from zentoria_infra.inventory.site_model import Site
from zentoria_infra.plan.model.change import Action
from zentoria_infra.plan.model.document import Disturbs, Origin, PlanDocument
from zentoria_infra.site.history import RunRecord, outcome_of, record_of
from zentoria_infra.site.run_lock import described, printable, shown_time
from zentoria_infra.site.site_state import Holder, Run, Runs, SiteState, local_state, site_state

_ANY = 1_000
"""Enough runs to look for one whose id begins so."""
_STYLES = {"failed": "red", "died": "red", "interrupted": "yellow", "refused": "yellow", "running": "bold"}


def history(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="[ID]", help="One run in detail, with its plan; the id's beginning is enough.")
    ] = "",
    count: Annotated[int, typer.Option("--number", "-n", min=1, help="How many of the newest runs.")] = 20,
    here: Annotated[
        bool, typer.Option("--here", help="Runs that only this machine remembers, from before the node did.")
    ] = False,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the runs that changed the site, or tried to: who, when, which plan, how it ended."""
    inventory = inventory_of(context, root, site)
    local = local_state(inventory.site)
    with contextlib.nullcontext(local) if here else _connected(inventory.site) as state:
        found = state.runs(_ANY, _checked(run)) if run else state.runs(count)
        where = state.where
    if where != local.where and (more := local.runs(0).total):
        output.note(f"This machine remembers {more} more, from before {where} did: `zentoria history --here`")
    if found.damaged:
        lines = "1 line" if found.damaged == 1 else f"{found.damaged} lines"
        output.note(f"{lines} of the history on {where} cannot be read; the rest is shown")
    if run:
        one = _the_one(run, found, where)
        if as_json:
            output.document({"where": where, **_data(one), "plan_document": found.plan})
        else:
            output.lines(_detail(one, found.plan))
    elif as_json:
        runs = [_data(one) for one in found.runs]
        output.document({"where": where, "total": found.total, "damaged": found.damaged, "runs": runs})
    elif not found.runs:
        output.note(f"No runs yet, as {where} remembers.")
    else:
        _table(found, where)


def lock(context: typer.Context, root: RootOption = None, site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show who is at work on the site, since when, from where, and with what."""
    with _connected(inventory_of(context, root, site).site) as state:
        holder = state.holder()
        where = state.where
    if as_json:
        output.document({"where": where, "holder": _holder_data(holder)})
    elif holder is None:
        output.lines([f"Nobody is at work on the site, as {where} remembers."])
    elif holder.left <= 0:
        output.lines([f"Its lock on {where} has expired; the next run takes over: {described(holder)}"])
    else:
        output.lines([f"{described(holder)}; without renewal its lock on {where} expires in {holder.left:.0f} s"])


def unlock(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Also the lock of a run that may be at work.")] = False,
    yes: YesOption = False,
    root: RootOption = None,
    site: SiteOption = None,
) -> None:
    """Take the site's lock from a run that has died. A run that lives begins no further stage once its lock is gone."""
    with _connected(inventory_of(context, root, site).site) as state:
        try:
            holder = state.holder()
        except ZentoriaError:
            if not force:
                raise
            output.confirm(f"The lock on {state.where} cannot be read. Remove it?", yes)
            state.break_lock()
            output.note("The lock is gone.")
            return
        if holder is None:
            output.note(f"There is no lock on {state.where}.")
            return
        if holder.left > 0 and not force:
            raise RefusedError(
                "take the site's lock away",
                on=state.where,
                got=f"its holder may be at work: {described(holder)}",
                todo=f"if it has died, its lock expires in {holder.left:.0f} s by itself; if you are sure, add --force",
            )
        if holder.left > 0:
            output.confirm(f"Take the lock from {described(holder)}? If that run lives, it stops half done.", yes)
        state.break_lock(holder.id)
        output.note(f"The lock is gone. It was that of {described(holder)}")


@contextlib.contextmanager
def _connected(site: Site) -> Iterator[SiteState]:
    with connect(site) as proxmox:
        yield site_state(site, proxmox, output.note)


def _checked(run: str) -> str:
    text = run.lower()
    if len(text) > 32 or not set(text) <= set("0123456789abcdef"):
        raise typer.BadParameter(f"{run!r} is no id of a run: 12 hexadecimal digits, or the first few of them")
    return text


def _the_one(text: str, found: Runs, where: str) -> Run:
    if len(found.runs) == 1:
        return found.runs[0]
    ids = ", ".join(one.id for one in found.runs[:10])
    raise ZentoriaError(
        f"find the run {text!r}",
        on=where,
        got=f"{found.total} runs begin so: {ids}" if found.runs else "no run begins so",
        todo="give more of its id" if found.runs else "`zentoria history` lists the runs",
    )


def _data(run: Run) -> dict[str, Any]:
    record = record_of(run).model_dump(mode="json")
    return {"id": run.id, "begun": run.begun, "ended": run.ended, **record, "outcome": outcome_of(run)}


def _holder_data(holder: Holder | None) -> dict[str, Any] | None:
    if holder is None:
        return None
    said = {name: holder.record.get(name, "") for name in ("who", "command")}
    return {
        "run": holder.id, "since": holder.since, "address": holder.address, **said, "expires_in": holder.left,
        "expired": holder.left <= 0,
    }  # fmt: skip


def _table(found: Runs, where: str) -> None:
    more = f", the newest {len(found.runs)} of {found.total}" if found.total > len(found.runs) else ""
    table = rich.table.Table(
        title=f"Runs, as {where} remembers{more}", box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left"
    )
    for name in ("run", "begun (UTC)", "took", "who", "command", "plan", "how it ended"):
        table.add_column(name, no_wrap=name in ("run", "begun (UTC)", "took"))
    for run in found.runs:
        record = record_of(run)
        begun = shown_time(run.begun).removesuffix(" UTC")
        cells = (run.id, begun, _took(run), record.who, record.command, _totals(record), _end(run, record))
        table.add_row(*(printable(cell) for cell in cells), style=_STYLES.get(outcome_of(run), ""))
    console = rich.console.Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 180
    console.print(table)


def _detail(run: Run, plan: Any) -> Iterator[str]:
    record = record_of(run)
    inventory = record.inventory
    commit = f"commit {inventory.commit[:12]}{' with changes' if inventory.dirty else ''}" if inventory.commit else ""
    digest = f"hash {inventory.hash[:16]}" if inventory.hash else ""
    rows = [
        ("who", record.who),
        ("begun", shown_time(run.begun)),
        ("ended", f"{shown_time(run.ended)} (took {_took(run)})" if run.ended else ""),
        ("how it ended", _end(run, record)),
        ("zentoria", record.version),
        ("inventory", ", ".join(part for part in (commit, digest) if part)),
        ("saved plan", record.plan.saved if record.plan else ""),
        ("plan", f"{_totals(record)} (hash {record.plan.hash})" if record.plan else ""),
        ("stages", ", ".join(f"{number} {status}" for status, number in record.stages.items())),
        *(("failed", f"{one.container}: {one.stage}: {one.error}") for one in record.failures),
        ("created", ", ".join(record.made)),
        ("destroyed", ", ".join(record.destroyed)),
        ("restarted", ", ".join(record.restarted)),
        ("reloaded", ", ".join(record.reloaded)),
        ("snapshots", ", ".join(record.snapshots)),
        ("went back", ", ".join(record.back)),
    ]
    yield printable(f"Run {run.id}: {record.command}")
    for name, text in rows:
        if text:
            yield f"  {name:<13} {printable(text)}"
    if record.plan is not None and plan is None:
        yield "  Its plan is not kept any more."
    elif plan is not None:
        yield from _plan(plan)


def _plan(plan: Any) -> Iterator[str]:
    """What it was about to do."""
    try:
        document = PlanDocument.model_validate(plan)
    except ValidationError:
        yield "  Its plan is of another version, which this one cannot show: see it with --json."
        return
    yield ""
    if shared := [*_changes(document, 0)]:
        yield "  datacenter"
        yield from shared
    for one in document.containers:
        if one.action != Action.NONE:
            yield printable(f"  {one.vmid} {one.name}: {one.action}: {one.reason}")
            yield from _changes(document, one.vmid)


def _changes(document: PlanDocument, vmid: int) -> Iterator[str]:
    for one in document.listing:
        if one.vmid == vmid:
            values = f"{one.before or 'nothing'} -> {one.after or 'nothing'}" if one.before or one.after else one.reason
            drift = "; drift" if one.origin is Origin.DRIFT else ""
            disturbs = f"; disturbs: {one.disturbs}" if one.disturbs is not Disturbs.NONE else ""
            at = f" ({one.where})" if one.where else ""
            yield printable(f"    {one.action} {one.what}: {values}{disturbs}{drift}{at}")


def _totals(record: RunRecord) -> str:
    if record.plan is None:
        return "no change" if record.outcome == "ok" and not record.stages else ""
    changed = [f"{action} {number}" for action, number in record.plan.totals.items() if action != Action.NONE]
    return ", ".join(changed) or "no change"


def _end(run: Run, record: RunRecord) -> str:
    outcome = outcome_of(run)
    if outcome == "failed" and record.failures:
        names = sorted({one.container for one in record.failures})
        return f"failed for {', '.join(names)}"
    return outcome


def _took(run: Run) -> str:
    try:
        end = datetime.fromisoformat(run.ended) if run.ended else None
        seconds = int((end - datetime.fromisoformat(run.begun)).total_seconds()) if end else None
    except (ValueError, TypeError):
        return ""
    if seconds is None or seconds < 0:
        return ""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
