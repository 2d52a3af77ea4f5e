"""The console script ``zentoria-auth``."""

from __future__ import annotations

from zentoria_common.program import Program

from zentoria_auth import __version__
from zentoria_auth.accounts.commands import USERS
from zentoria_auth.app import create_app, make_probes, required
from zentoria_auth.settings import Secrets, Settings

PROGRAM = Program(
    name="zentoria-auth",
    description="Zentoria's sign-in and authorization server.",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=create_app,
    ports=lambda settings: {"http": settings.http_port},
    commands=(USERS,),
    required=required,
)


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    PROGRAM.run(arguments)
