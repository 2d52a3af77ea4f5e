"""How often we asked: API calls by path, and SSH round trips."""

from __future__ import annotations

import threading
from collections import Counter


class CallStats:
    """Counts of calls, safe from several threads. A repeated call counts each time it was sent."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()

    def add(self, verb: str, template: str) -> None:
        """Count one call of ``verb`` on a path template such as ``/nodes/{node}/lxc``."""
        with self._guard:
            self._calls[verb, template] += 1

    @property
    def total(self) -> int:
        """All calls."""
        with self._guard:
            return sum(self._calls.values())

    def by_verb(self) -> dict[str, int]:
        """``{"GET": 12, "POST": 3}``."""
        with self._guard:
            counts: Counter[str] = Counter()
            for (verb, _), number in self._calls.items():
                counts[verb] += number
            return dict(sorted(counts.items()))

    def by_path(self) -> dict[str, int]:
        """``{"GET /nodes/{node}/lxc": 2}``, most frequent first."""
        with self._guard:
            return {f"{verb} {path}": number for (verb, path), number in self._calls.most_common()}
