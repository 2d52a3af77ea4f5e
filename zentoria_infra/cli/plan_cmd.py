"""``zentoria plan``: what `up` would change, and why."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from zentoria_infra.cli import output
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.context import JsonOption, RootOption, SiteOption, connect, inventory_of
from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.execute.applied_record import basis, recorded
from zentoria_infra.execute.site_state import site_state
from zentoria_infra.plan import explain
from zentoria_infra.plan.document import PlanDocument, document
from zentoria_infra.plan.markdown import markdown

CHANGES = 2
"""With ``--detailed-exitcode``: there is something to do (as other tools have it: 0 nothing, 2 changes, 1 error)."""


class Format(enum.StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    MD = "md"
    JSON = "json"


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
) -> None:
    """Show what `up` would change, container by container, and why. Changes nothing."""
    with detailed_exit(detailed):
        chosen = format_of(form, as_json)
        inventory = inventory_of(context, root, site)
        with connect(inventory.site) as proxmox:
            deployment = deployment_of(inventory, proxmox)
            found, stages = deployment.plan()
            content, unread = recorded(site_state(inventory.site, proxmox, lambda text: None))
            seen = basis(inventory, deployment, found, content, unread=unread)
        told = document(found, stages, seen)
        if chosen is Format.TEXT:
            output.lines(explain.lines(found, stages, seen, everything=everything))
        else:
            show(told, chosen)
        leave(told, refused=bool(found.refused or found.problems), detailed=detailed)


def format_of(form: Format | None, as_json: bool) -> Format:
    """The format that was asked for."""
    if as_json and form not in (None, Format.JSON):
        raise typer.BadParameter("--json and --format say different things", param_hint="--format")
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
