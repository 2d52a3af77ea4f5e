"""The console script ``zentoria-ai``."""

from __future__ import annotations

import argparse
import sys

from zentoria_common.program import Program

from zentoria_ai import __version__
from zentoria_ai.app import NAME, make_probes, open_app
from zentoria_ai.intents import command as intents
from zentoria_ai.scoring import command as scoring
from zentoria_ai.settings import Secrets, Settings

PROGRAM = Program(
    name=NAME,
    description="Zentoria's AI orchestrator. Without settings: train, score-intents, score-answers (each has --help).",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=open_app,
    ports=lambda settings: {"http": settings.http_port},
)
OFFLINE = ("score-answers", "score-intents", "train")
"""Commands for a workstation: they read files and no settings."""


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0] in OFFLINE:
        parser = argparse.ArgumentParser(prog=NAME)
        commands = parser.add_subparsers(dest="command", required=True)
        intents.configure(commands)
        scoring.configure(commands)
        options = parser.parse_args(given)
        sys.exit(scoring.run(options) if options.command == "score-answers" else intents.run(options))
    PROGRAM.run(given)
