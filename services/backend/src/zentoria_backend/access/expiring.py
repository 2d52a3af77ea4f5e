"""A small cache whose entries are true for some seconds only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Expiring(Generic[T]):
    """Keeps values for ``seconds``; the oldest go first when there are more than ``size``."""

    def __init__(self, seconds: float, *, size: int = 4096, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self.cleared = 0
        """How often all was forgotten: what was asked for before that is not put in after it."""

    def get(self, key: str) -> T | None:
        """The value, unless it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry[0]:
            del self._entries[key]
            return None
        return entry[1]

    def put(self, key: str, value: T) -> None:
        """Keep a value from now on."""
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + self._seconds, value)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget one."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self.cleared += 1
        self._entries.clear()
