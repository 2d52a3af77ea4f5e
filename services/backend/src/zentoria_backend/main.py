"""The console script ``zentoria-backend``."""

from __future__ import annotations

from zentoria_common.program import Program

from zentoria_backend import __version__
from zentoria_backend.app import make_probes, open_app, required
from zentoria_backend.audit import command as audit
from zentoria_backend.settings import Secrets, Settings

PROGRAM = Program(
    name="zentoria-backend",
    description="Zentoria's MCP API gateway.",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=open_app,
    ports=lambda settings: {"http": settings.http_port, "ws": settings.websocket_port},
    commands=(audit.COMMAND,),
    required=required,
)


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    PROGRAM.run(arguments)
