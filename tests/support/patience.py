"""How long a test waits: seconds of an idle machine, and more on one that is slow or busy."""

from __future__ import annotations

import functools
import subprocess
import sys
import time

USUAL = 0.03
"""Seconds in which an idle machine starts an interpreter that does nothing, and hears of its end."""

MOST = 8.0
"""Not more patience than this, so that a limit of 3 s still tells "at once" from a wait of 30 s."""


def patience(seconds: float) -> float:
    """A limit in seconds, for what takes at most ``seconds`` on an idle machine."""
    return seconds * slowness()


@functools.cache
def slowness() -> float:
    """How much slower than an idle machine this one is: the worst of five starts, measured once a session."""
    return min(max(1.0, max(_start() for _ in range(5)) / USUAL), MOST)


def _start() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return time.monotonic() - begun
