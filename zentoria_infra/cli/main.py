"""The ``zentoria`` command: registers the others, and turns every error into words and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import typer.core

import zentoria_infra
from zentoria_infra.cli import (
    bootstrap_cmd,
    ci_cmd,
    firewall_cmd,
    guest_cmd,
    history_cmd,
    inventory_cmd,
    lab_cmd,
    observe_cmd,
    output,
    plan_cmd,
    redeploy_cmd,
    render_cmd,
    rollback_cmd,
    stack_cmd,
    verify_cmd,
)
from zentoria_infra.cli.context import RootOption, Shared, SiteOption
from zentoria_infra.errors import ExitCode, ZentoriaError


class _Commands(typer.core.TyperGroup):
    """Says what Ctrl-C means also where no stage was under way to say it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.note("Interrupted; run the same command again to go on.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    name="zentoria",
    cls=_Commands,
    help="From an inventory to a running, private AI stack on Proxmox VE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"zentoria {zentoria_infra.__version__}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    root: RootOption = None,
    site: SiteOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Shared(root, site)


app.command(cls=plan_cmd.PlanCommand)(plan_cmd.plan)
app.command()(observe_cmd.observe)
app.command()(stack_cmd.up)
app.command()(stack_cmd.down)
app.command()(guest_cmd.status)
app.command()(redeploy_cmd.redeploy)
app.command()(rollback_cmd.rollback)
app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(
    guest_cmd.exec_
)
app.command()(guest_cmd.logs)
app.command("bootstrap")(bootstrap_cmd.bootstrap_)
app.command()(inventory_cmd.validate)
app.command()(ci_cmd.ci)
app.command()(history_cmd.history)
app.command()(history_cmd.lock)
app.command()(history_cmd.unlock)
app.add_typer(firewall_cmd.firewall_app, name="firewall")
app.add_typer(verify_cmd.verify_app, name="verify")
app.add_typer(render_cmd.render_app, name="render")
app.add_typer(inventory_cmd.inventory_app, name="inventory")
app.add_typer(lab_cmd.lab_app, name="lab")


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    except ZentoriaError as error:
        output.problem(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader (head, less) has gone; there is nobody to tell.
            output.leave(ExitCode.FAILED)
        where = f" on {error.filename}" if error.filename else ""
        output.problem(f"this machine{where}: {error.strerror or error}\n  what to do: put that right, then run again")
        sys.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        output.leave(ExitCode.INTERRUPTED)
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            output.leave(ExitCode.INTERRUPTED)  # threads that still read are not waited for
        raise
