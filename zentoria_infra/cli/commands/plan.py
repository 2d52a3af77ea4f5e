"""``zentoria plan``: what `up` would change, and why."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.exceptions

from zentoria_infra.cli import output
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of, inventory_offline
from zentoria_infra.cli.options import ExcludeOption, OnlyOption, ZoneOption
from zentoria_infra.errors import ExitCode, ZentoriaError

# Each way to plan and to print loads what it needs: with `--offline`, nothing that asks a node.
if TYPE_CHECKING:
    from zentoria_infra.plan.model.change import Plan
    from zentoria_infra.plan.saved.state_file import ObservedState
    from zentoria_infra.plan.show.document import PlanDocument
    from zentoria_infra.plan.show.listing import Basis
    from zentoria_infra.plan.stages.types import AnyStage

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
    bool,
    typer.Option(
        "--detailed-exitcode",
        help="Exit with 0 for no change, 2 for changes, 1 for any error, or where an inside could not be seen.",
    ),
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
        if offline:
            made = _offline(context, root, site, state)
        else:
            parts = _Part(only or (), zone or (), exclude or ())
            made = _asked(
                context, root, site, parts, saves=out is not None, quiet=chosen is not Format.TEXT or out == "-"
            )
        if out == "-":
            pass  # the file is what is printed
        elif chosen is Format.TEXT:
            from zentoria_infra.plan.show import explain

            told = made.told
            output.lines(explain.lines(made.plan, made.stages, made.basis, everything=everything, listing=told.listing))
        else:
            show(made.told, chosen)
        refused = bool(made.plan.refused or made.plan.problems)
        if made.saved is not None and out is not None:
            if refused:
                output.note("not saved: it cannot be carried out as it is")
            else:
                output.save(out, made.saved)
        if detailed and made.plan.only_unknown and not refused:
            output.note("It is not known whether there are changes: the inside of some containers could not be seen.")
            raise typer.Exit(ExitCode.FAILED)
        leave(made.told, refused=refused, detailed=detailed)


@dataclasses.dataclass(frozen=True)
class _Made:
    """A plan, and what is told of it; with the content of its file where it is to be saved."""

    plan: Plan
    stages: Sequence[AnyStage]
    basis: Basis
    told: PlanDocument
    saved: bytes | None = None


@dataclasses.dataclass(frozen=True)
class _Part:
    """Which containers were asked for."""

    only: Sequence[str]
    zones: Sequence[str]
    exclude: Sequence[str]


def _offline(context: typer.Context, root: Path | None, site: str | None, state: Path | None) -> _Made:
    from zentoria_infra.execute.offline import plan_offline
    from zentoria_infra.plan.show.document import document

    observed = _state(state) if state is not None else None
    inventory = (inventory_of if observed is not None else inventory_offline)(context, root, site)
    found, stages, seen = plan_offline(inventory, observed, str(state))
    return _Made(found, stages, seen, document(found, stages, seen))


def _state(file: Path) -> ObservedState:
    from zentoria_infra.cli.commands.observe import state_from

    return state_from(file)


def _asked(
    context: typer.Context, root: Path | None, site: str | None, part: _Part, *, saves: bool, quiet: bool
) -> _Made:
    from zentoria_infra.cli.applying import deployment_of, selection, vmids_for
    from zentoria_infra.plan.saved.saved_plan import dump_saved
    from zentoria_infra.plan.show.document import document
    from zentoria_infra.site.applied_record import basis, recorded
    from zentoria_infra.site.binding import bound
    from zentoria_infra.site.site_state import site_state

    inventory = inventory_of(context, root, site)
    wanted = selection(inventory, part.only, part.zones, part.exclude)
    with connect(inventory.site) as proxmox:
        deployment = deployment_of(inventory, proxmox)
        vmids = vmids_for(wanted, inventory, deployment, quiet=quiet)
        found, stages = deployment.plan(vmids)
        content, unread = recorded(site_state(inventory.site, proxmox, lambda text: None))
        seen = basis(inventory, deployment, found, content, unread=unread)
        told = document(found, stages, seen)
        saved = dump_saved(bound(inventory, deployment, told, only=vmids)) if saves else None
    return _Made(found, stages, seen, told, saved)


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
        output.text(told.model_dump_json(indent=2) + "\n")
    else:
        from zentoria_infra.plan.show.markdown import markdown

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
