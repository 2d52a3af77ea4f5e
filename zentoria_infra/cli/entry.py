"""The console script: Ctrl-C is answered in words also while everything else is still being loaded."""

from __future__ import annotations

import gc
import io
import sys

from zentoria_infra.cli.interrupting import nothing_begun

COLLECT = (300_000, 20, 50)
"""How seldom circles of garbage are looked for. What is made of an inventory has none, and lives until the end: with
Python's own numbers, a third of the time with 1,700 containers went into looking through it again and again."""


def take_any_text() -> None:
    """Let standard output and error stand every character, as ``?`` where the terminal's encoding has none for it.

    Python's own answer to an arrow on a terminal of Latin-1 is a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def run() -> None:
    """Entry point of the console script."""
    gc.set_threshold(*COLLECT)
    take_any_text()
    with nothing_begun():
        from zentoria_infra.cli import main
    main.run()
