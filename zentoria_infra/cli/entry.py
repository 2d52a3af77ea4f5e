"""The console script: Ctrl-C is answered in words also while everything else is still being loaded."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from zentoria_infra.errors import ExitCode

COLLECT = (300_000, 20, 50)
"""How seldom circles of garbage are looked for. What is made of an inventory has none, and lives until the end: with
Python's own numbers, a third of the time with 1,700 containers went into looking through it again and again."""


@contextlib.contextmanager
def nothing_begun() -> Iterator[None]:
    """Load modules; Ctrl-C meanwhile ends the program in words."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted; nothing was begun.", file=sys.stderr, flush=True)
        os._exit(ExitCode.INTERRUPTED)  # modules that are half loaded have nothing to say at exit


def run() -> None:
    """Entry point of the console script."""
    gc.set_threshold(*COLLECT)
    with nothing_begun():
        from zentoria_infra.cli import main
    main.run()
