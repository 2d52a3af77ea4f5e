"""Who may use a model now, who waits, and who is sent away."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator

from zentoria_engine.errors import EngineError, busy


class Waiting:
    """A line before one model: first come, first served. Nobody can fill it alone.

    Args:
        slots: how many are served at the same time.
        waiting: how many wait at most.
        per_user: how many one user has in it, those that are served among them.
    """

    def __init__(self, slots: int, waiting: int, per_user: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._count, self._most, self._per_user = slots, waiting, per_user
        self._users: Counter[str] = Counter()
        self.waiting = 0
        self.working = 0
        self._seconds = 5.0
        """That a turn takes, as a moving average."""

    @contextlib.asynccontextmanager
    async def turn(self, user: str) -> AsyncGenerator[None]:
        """Wait for a turn, and have it. An empty ``user`` is nobody in particular.

        Raises:
            EngineError: the line is full, or the user has enough in it.
        """
        if user and self._users[user] >= self._per_user:
            raise self._full(f"this user has {self._users[user]} requests at this model already")
        if self._slots.locked() and self.waiting >= self._most:
            raise self._full(f"{self.waiting} requests wait for this model already")
        self._users[user] += 1
        self.waiting += 1
        try:
            try:
                await self._slots.acquire()
            finally:
                self.waiting -= 1
            self.working += 1
            begun = time.monotonic()
            try:
                yield
            finally:
                self.working -= 1
                self._seconds += 0.2 * (time.monotonic() - begun - self._seconds)
                self._slots.release()
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    def _full(self, text: str) -> EngineError:
        return busy(text, max(1, min(120, math.ceil(self._seconds * (1 + self.waiting / self._count)))))
