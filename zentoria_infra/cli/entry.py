"""The console script: Ctrl-C is answered in words also while everything else is still being loaded."""

from __future__ import annotations

import os
import sys

from zentoria_infra.errors import ExitCode


def run() -> None:
    """Entry point of the console script."""
    try:
        from zentoria_infra.cli import main
    except KeyboardInterrupt:
        print("Interrupted; nothing was begun.", file=sys.stderr, flush=True)
        os._exit(ExitCode.INTERRUPTED)  # modules that are half loaded have nothing to say at exit
    main.run()
