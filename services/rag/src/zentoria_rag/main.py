"""The console script ``zentoria-rag``."""

from __future__ import annotations

from zentoria_common.program import Program

from zentoria_rag import __version__
from zentoria_rag.app import make_probes, open_app, required
from zentoria_rag.reindex.command import COMMAND as REINDEX
from zentoria_rag.scoring.command import CALIBRATE, SCORE
from zentoria_rag.settings import Secrets, Settings

PROGRAM = Program(
    name="zentoria-rag",
    description="Zentoria's retrieval: documents, passages, search.",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=open_app,
    ports=lambda settings: {"http": settings.http_port},
    commands=(REINDEX, SCORE, CALIBRATE),
    required=required,
)


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    PROGRAM.run(arguments)
