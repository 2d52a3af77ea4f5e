"""Ctrl-C while modules are being loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from zentoria_infra.errors import ExitCode


@contextlib.contextmanager
def nothing_begun() -> Iterator[None]:
    """Load modules; Ctrl-C meanwhile ends the program in words."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted; nothing was begun.", file=sys.stderr, flush=True)
        os._exit(ExitCode.INTERRUPTED)  # modules that are half loaded have nothing to say at exit
