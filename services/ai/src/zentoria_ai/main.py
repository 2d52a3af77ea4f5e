"""The console script ``zentoria-ai``."""

from __future__ import annotations

import argparse
import sys

from zentoria_common.program import Program

from zentoria_ai import __version__
from zentoria_ai.app import NAME, make_probes, open_app
from zentoria_ai.intents import command as intents
from zentoria_ai.settings import Secrets, Settings

PROGRAM = Program(
    name=NAME,
    description="Zentoria's AI orchestrator. Without settings: train, score-intents (see 'zentoria-ai train --help').",
    version=__version__,
    settings=Settings,
    secrets=Secrets,
    probes=make_probes,
    app=open_app,
    ports=lambda settings: {"http": settings.http_port},
)
OFFLINE = ("train", "score-intents")
"""Commands for a workstation: they read files and no settings."""


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed), 2 (usage) or 78 (settings)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0] in OFFLINE:
        parser = argparse.ArgumentParser(prog=NAME)
        intents.configure(parser.add_subparsers(dest="command", required=True))
        sys.exit(intents.run(parser.parse_args(given)))
    PROGRAM.run(given)
