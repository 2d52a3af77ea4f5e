"""Answers that get lost on their way, on demand: as those of ticket sessions on Proxmox VE 9.

pveproxy of 9.x closes the connection on about 1 in 8 POST and PUT of a session with a ticket, without an answer, and
without having carried it out: checking the ticket leaves an error in OpenSSL's queue, on which reading the body
stumbles (measured on 9.2.11: 34 of 272; API tokens 0 of 3,154). What a network loses may have been carried out.
"""

from __future__ import annotations

import enum
import random
import threading
from collections.abc import Container

from zentoria_infra.errors import LabError

VARIABLE = "ZENTORIA_LAB_LOSES"
"""Environment variable of a lab's start: which share of the writes with a ticket gets no answer, as ``0.125``."""
_METHODS = ("POST", "PUT")


class Lost(enum.Enum):
    """When an answer got lost."""

    BEFORE = enum.auto()
    """Nothing was carried out."""
    AFTER = enum.auto()
    """It was carried out."""


class Losses:
    """Which of the writes with a ticket get no answer. None, unless it is told to. Safe from several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._lose: Container[int] = ()
        self._random: random.Random | None = None
        self._share = 0.0
        self._kind = Lost.BEFORE
        self.seen = 0
        """Writes with a ticket since they were last told what to lose."""
        self.lost = 0
        """How many of them got no answer."""

    def lose(self, numbers: Container[int], kind: Lost = Lost.BEFORE) -> None:
        """Lose those whose number is in ``numbers``; the next one is number 1."""
        with self._guard:
            self._lose, self._random, self._kind, self.seen, self.lost = numbers, None, kind, 0, 0

    def lose_share(self, share: float, seed: int, kind: Lost = Lost.BEFORE) -> None:
        """Lose some by chance; which, the seed says."""
        self.lose((), kind)
        with self._guard:
            self._random, self._share = random.Random(seed), share  # noqa: S311 - for tests, not for secrets

    def lose_as_told(self, text: str) -> None:
        """Lose the share that :data:`VARIABLE` says; none for an empty text.

        Raises:
            LabError: it is no share.
        """
        try:
            share = float(text or 0)
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:
            raise LabError(
                f"read {VARIABLE}", got=f"{text!r} is no share", todo="give a number from 0 to below 1: 0.125"
            )
        if share:
            self.lose_share(share, seed=0)

    def next(self, method: str, *, ticket: bool) -> Lost | None:
        """Whether this request gets no answer."""
        if not ticket or method not in _METHODS:
            return None
        with self._guard:
            self.seen += 1
            chosen = self._random.random() < self._share if self._random else self.seen in self._lose
            self.lost += chosen
            return self._kind if chosen else None
