"""How many answers are made at a time: of all, and of one user."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

from zentoria_common.problems import Problem

RETRY_SECONDS = 5


class Slots:
    """Counts what is under way; nobody waits here.

    Args:
        most: of all together.
        most_user: of one user.
    """

    def __init__(self, most: int, most_user: int) -> None:
        self._most, self._most_user = most, most_user
        self._taken: Counter[int] = Counter()

    @property
    def taken(self) -> int:
        """How many are under way."""
        return self._taken.total()

    def take(self, user_id: int) -> Callable[[], None]:
        """Take one; what it returns gives it back.

        Raises:
            Problem: 503, all are taken; 429, all that one user may have.
        """
        if self._taken[user_id] >= self._most_user:
            raise _full(429, "you have as many answers under way as one user may have: wait for one, or stop it")
        if self.taken >= self._most:
            raise _full(503, "the assistant answers as many questions as it can at a time")
        self._taken[user_id] += 1
        return functools.partial(self._give, user_id)

    def _give(self, user_id: int) -> None:
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]


def _full(status: int, detail: str) -> Problem:
    return Problem(status, detail, kind="busy", headers={"retry-after": str(RETRY_SECONDS)})
