"""The ``zentoria`` command: registers the others, and turns every error into words and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import zentoria_infra
from zentoria_infra.cli import output
from zentoria_infra.cli.context import RootOption, Shared, SiteOption
from zentoria_infra.cli.interrupting import nothing_begun
from zentoria_infra.cli.lazy import LazyCommand, LazyGroup
from zentoria_infra.errors import ExitCode, ZentoriaError

_AS_IT_IS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""What comes after is a command line of its own."""


class _Commands(LazyGroup):
    """Says what Ctrl-C means also where no stage was under way to say it."""

    lazy = (
        LazyCommand(
            "plan",
            "plan:plan",
            "Show what `up` would change, container by container, and why. Changes nothing.",
            kind="plan:PlanCommand",
        ),
        LazyCommand(
            "observe",
            "observe:observe",
            "Write what is there to a file without secrets, for `plan --offline --state FILE` elsewhere. "
            "Changes nothing.",
        ),
        LazyCommand(
            "up",
            "stack:up",
            "Bring the stack to the state of the inventory: plan, ask, execute. A second run changes nothing.",
        ),
        LazyCommand(
            "down",
            "stack:down",
            "Destroy the stack's containers with their volumes. Asks first; refuses when one of them is protected.",
        ),
        LazyCommand(
            "status",
            "guest:status",
            "Show every container of the inventory: is it there, is it ours, does it run, are its units active.",
        ),
        LazyCommand(
            "redeploy",
            "redeploy:redeploy",
            "Bring some containers to their state and switch their services to a fresh release behind a health gate.",
        ),
        LazyCommand(
            "rollback",
            "rollback:rollback",
            "Go back to a release that was there before, behind its health gate; or to a snapshot.",
        ),
        LazyCommand(
            "exec",
            "guest:exec_",
            "Run a command in a container as root and leave with its exit code; "
            "input is passed on when it is no terminal.",
            settings=_AS_IT_IS,
        ),
        LazyCommand("logs", "guest:logs", "Show the journal of a container."),
        LazyCommand(
            "bootstrap",
            "bootstrap:bootstrap_",
            "Make pool, roles, user, token and SSH key for Zentoria on a Proxmox server, "
            "with the least rights that do.",
        ),
        LazyCommand(
            "validate", "inventory:validate", "Check the inventory: every problem, with its file, line and column."
        ),
        LazyCommand(
            "ci", "ci:ci", "Check the project as CI does: validate, firewall prove, render --check, plan --offline."
        ),
        LazyCommand(
            "history",
            "history:history",
            "Show the runs that changed the site, or tried to: who, when, which plan, how it ended.",
        ),
        LazyCommand("lock", "history:lock", "Show who is at work on the site, since when, from where, and with what."),
        LazyCommand(
            "unlock",
            "history:unlock",
            "Take the site's lock from a run that has died. "
            "A run that lives begins no further stage once its lock is gone.",
        ),
        LazyCommand(
            "firewall",
            "firewall:firewall_app",
            "The firewall: is it right, and who may reach whom. Changes nothing.",
        ),
        LazyCommand("verify", "verify:verify_app", "Hold what is declared against reality."),
        LazyCommand("render", "render:render_app", "What would be written elsewhere, as files: check it, or print it."),
        LazyCommand(
            "template", "template:template_app", "The site's prepared template, from which new containers are made."
        ),
        LazyCommand("secret", "secret:secret_app", "Secrets of the site's file: which are there, and supplying one."),
        LazyCommand("models", "models:models_app", "Models that the stack serves: list, pull, remove."),
        LazyCommand("users", "users:users_app", "Accounts: who may sign in. Links for first and new passwords."),
        LazyCommand("audit", "audit:audit_app", "The audit trail: who did what. Reads; changes nothing."),
        LazyCommand("rag", "rag:rag_app", "Documents and their search index."),
        LazyCommand("inventory", "inventory:inventory_app", "The inventory's files."),
        LazyCommand("lab", "lab:lab_app", "A Proxmox-compatible node on this machine, with real LXC guests."),
    )

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> Any:
        """Read the command line; Typer loads more for it."""
        with nothing_begun():
            return super().make_context(info_name, args, *more, **options)

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
