"""How many commands may be about to begin on a node at once, and how they say that they have begun.

On Proxmox VE one ``pct exec`` takes 0.7 s of a processor before the command in the container begins (measured on 8.4
and 9.2; it is Perl that loads). More of them at once than the node has processors makes each later and none sooner.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

BEGUN = b"\x01zentoria: begun\n"
"""What a command writes to standard error first, when it is to say that it has begun. Callers do not get to see it."""

LEAST, MOST = 2, 8
"""Commands that begin at once: on a small or busy node, and on any."""

UNKNOWN = 4
"""Of a node whose processors and load we may not ask."""

PATIENCE = 180.0
"""Seconds that a node may take until a command begins: it is slow then, and not dead."""

_ANNOUNCE = 'printf "\\001zentoria: begun\\n" >&2; exec "$@"'
_GRACE = 5
"""Seconds between asking a command that is too slow to end, and ending it."""


def width(cpus: int, load: float) -> int:
    """How many commands begin at once on a node with so many processors, of which ``load`` are busy.

    Half of its processors are counted on in any case: what is at work may be waiting for us.
    """
    return min(MOST, max(LEAST, math.floor(max(cpus - load, cpus / 2))))


def announced(argv: Sequence[str], seconds: float | None = None) -> list[str]:
    """The command that says when it begins, and ends after ``seconds`` from then: who has given it up holds no session.

    Everything it needs is in packages that Debian calls essential.
    """
    limit = ["timeout", f"--kill-after={_GRACE}", f"{seconds:.3f}"] if seconds is not None else []
    return ["sh", "-c", _ANNOUNCE, "sh", *limit, *argv]


class Starts:
    """Places for commands that are about to begin. Safe from several threads.

    Args:
        places: says how many there are; asked once, before the first.
    """

    def __init__(self, places: Callable[[], int]) -> None:
        self._ask = places
        self._guard = threading.Lock()
        self._places: threading.BoundedSemaphore | None = None

    def take(self) -> Callable[[], None]:
        """Wait for a place. What comes back gives it up; calling that again does nothing."""
        with self._guard:
            if self._places is None:
                self._places = threading.BoundedSemaphore(max(1, self._ask()))
            places = self._places
        places.acquire()
        once = threading.Lock()

        def give_up() -> None:
            if once.acquire(blocking=False):
                places.release()

        return give_up
