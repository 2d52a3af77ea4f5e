"""The console script ``zentoria-ocr``."""

from __future__ import annotations

from zentoria_common.program import Program

from zentoria_ocr import __version__
from zentoria_ocr.app import NAME, create_app, make_probes
from zentoria_ocr.settings import Secrets, Settings

PROGRAM = Program(
    name=NAME,
    description="Zentoria's text recognition.",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=create_app,
    ports=lambda settings: {"http": settings.http_port},
)


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    PROGRAM.run(arguments)
