"""Who listens here."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

MOST_EACH = 64
"""Connections of one user to one process."""


class Clients:
    """Who is connected to this process, and how many may be.

    Args:
        most: connections of all users.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._each: Counter[int] = Counter()

    @property
    def count(self) -> int:
        """How many are connected."""
        return self._each.total()

    @contextlib.contextmanager
    def place(self, user_id: int) -> Iterator[bool]:
        """A place for one connection; yields False where there is none."""
        if self.count >= self._most or self._each[user_id] >= MOST_EACH:
            yield False
            return
        self._each[user_id] += 1
        try:
            yield True
        finally:
            self._each[user_id] -= 1
            if not self._each[user_id]:
                del self._each[user_id]
