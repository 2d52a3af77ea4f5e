"""Bounded work: so many are worked on, so many wait, and who comes then is told when to come again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from zentoria_common.problems import Unavailable


class Places:
    """Places for work of one kind, in one process.

    Args:
        what: the kind, as in "transcription": it is the ``service`` of the refusal.
        workers: how much is worked on at a time.
        queue: how much more may wait for that.
        retry_after: seconds that a refusal names.
    """

    def __init__(self, what: str, workers: int, queue: int, *, retry_after: int = 30) -> None:
        self._what, self._most, self._retry_after = what, workers + queue, retry_after
        self._running = asyncio.Semaphore(workers)
        self.taken = 0
        """How many have a place or wait for one."""

    @property
    def idle(self) -> bool:
        """Whether whoever comes now is worked on at once."""
        return not self._running.locked()

    def check(self) -> None:
        """Refuse one more, where all places are taken. For answers whose status is sent before the work begins.

        Raises:
            Unavailable: they are.
        """
        if self.taken >= self._most:
            raise Unavailable(self._what, f"{self._what}: as many wait as may", retry_after=self._retry_after)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """Wait for a place, and have it.

        Raises:
            Unavailable: as many wait as may.
        """
        self.check()
        self.taken += 1
        try:
            async with self._running:
                yield
        finally:
            self.taken -= 1
