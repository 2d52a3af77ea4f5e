"""The time, as a value that tests can set."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since the epoch."""


def wall_clock() -> float:
    """The machine's clock."""
    return time.time()


def moment(seconds: float) -> datetime.datetime:
    """The same as a date with its zone."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
