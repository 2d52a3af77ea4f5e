"""``zentoria plan``: what `up` would change, and why."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.exceptions

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import ExcludeOption, OnlyOption, ZoneOption, deployment_of, selection, vmids_for
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of, inventory_offline
from zentoria_infra.cli.observe_cmd import state_from
from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.execute.applied_record import basis, recorded
from zentoria_infra.execute.binding import bound
from zentoria_infra.execute.offline import plan_offline
from zentoria_infra.execute.site_state import site_state
from zentoria_infra.plan import explain
from zentoria_infra.plan.document import PlanDocument, document
from zentoria_infra.plan.markdown import markdown
from zentoria_infra.plan.saved import dump_saved

CHANGES = 2
"""With ``--detailed-exitcode``: there is something to do (as other tools have it: 0 nothing, 2 changes, 1 error)."""


class Format(enum.StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    MD = "md"
    JSON = "json"


class PlanCommand(typer.core.TyperCommand):
    """Click leaves with 2 when a command line is wrong; with ``--detailed-exitcode``, 2 must mean changes."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> Any:
        """Read the command line."""
        detailed = "--detailed-exitcode" in args
        try:
            return super().make_context(info_name, args, *more, **options)
        except typer.exceptions.TyperException as error:
            if detailed and hasattr(error, "exit_code"):
                error.exit_code = ExitCode.FAILED
            raise


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="`text`; `md` for a comment on a pull request; `json`, as `--json` prints it."),
]
DetailedOption = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 0 for no change, 2 for changes, 1 for any error.")
]


def plan(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    form: FormatOption = None,
    detailed: DetailedOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Also name containers without a change.")] = False,
    only: OnlyOption = None,
    zone: ZoneOption = None,
    exclude: ExcludeOption = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Save the plan, for `zentoria up FILE`; `-` prints it."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no node: plan from the inventory alone, without network and keys.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="With --offline: plan against what `zentoria observe` wrote."),
    ] = None,
) -> None:
    """Show what `up` would change, container by container, and why. Changes nothing."""
    with detailed_exit(detailed):
        chosen = format_of(form, as_json, detailed=detailed)
        if offline and out is not None:
            raise _misuse("only a plan that asked the node can be carried out", "--out", detailed=detailed)
        if state is not None and not offline:
            raise _misuse("a state file is for --offline", "--state", detailed=detailed)
        if offline and (only or zone or exclude):
            raise _misuse("a plan without a node is for all containers", "--offline", detailed=detailed)
        saved = None
        if offline:
            observed = state_from(state) if state is not None else None
            inventory = (inventory_of if observed is not None else inventory_offline)(context, root, site)
            found, stages, seen = plan_offline(inventory, observed, str(state))
            told = document(found, stages, seen)
        else:
            inventory = inventory_of(context, root, site)
            part = selection(inventory, only, zone, exclude)
            with connect(inventory.site) as proxmox:
                deployment = deployment_of(inventory, proxmox)
                quiet = chosen is not Format.TEXT or out == "-"
                vmids = vmids_for(part, inventory, deployment, quiet=quiet)
                found, stages = deployment.plan(vmids)
                content, unread = recorded(site_state(inventory.site, proxmox, lambda text: None))
                seen = basis(inventory, deployment, found, content, unread=unread)
                told = document(found, stages, seen)
                saved = bound(inventory, deployment, told, only=vmids) if out is not None else None
        if out == "-":
            pass  # the file is what is printed
        elif chosen is Format.TEXT:
            output.lines(explain.lines(found, stages, seen, everything=everything, listing=told.listing))
        else:
            show(told, chosen)
        refused = bool(found.refused or found.problems)
        if saved is not None and out is not None:
            if refused:
                output.note("not saved: it cannot be carried out as it is")
            else:
                output.save(out, dump_saved(saved))
        leave(told, refused=refused, detailed=detailed)


def _misuse(text: str, option: str, *, detailed: bool) -> typer.BadParameter:
    error = typer.BadParameter(text, param_hint=option)
    error.exit_code = ExitCode.FAILED if detailed else ExitCode.USAGE
    return error


def format_of(form: Format | None, as_json: bool, *, detailed: bool = False) -> Format:
    """The format that was asked for."""
    if as_json and form not in (None, Format.JSON):
        raise _misuse("--json and --format say different things", "--format", detailed=detailed)
    return Format.JSON if as_json else form or Format.TEXT


def show(told: PlanDocument, form: Format) -> None:
    """Print a document as JSON or Markdown."""
    if form is Format.JSON:
        output.document(told.model_dump(mode="json"))
    else:
        output.text(markdown(told))


def leave(told: PlanDocument, *, refused: bool, detailed: bool) -> None:
    """Leave with the code that says what was found; return where that is 0."""
    if refused:
        raise typer.Exit(ExitCode.FAILED if detailed else ExitCode.REFUSED)
    if detailed and told.changes:
        raise typer.Exit(CHANGES)


@contextmanager
def detailed_exit(detailed: bool) -> Iterator[None]:
    """With ``--detailed-exitcode`` every error is 1: 2 must mean changes, and nothing else."""
    try:
        yield
    except ZentoriaError as error:
        if not detailed:
            raise
        output.problem(str(error))
        raise typer.Exit(ExitCode.FAILED) from None
    except OSError as error:
        if not detailed or isinstance(error, BrokenPipeError):
            raise
        output.problem(f"this machine: {error.strerror or error}")
        raise typer.Exit(ExitCode.FAILED) from None
