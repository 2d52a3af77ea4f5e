"""Tasks that go on beside others, and how they are ended for certain."""

from __future__ import annotations

import asyncio
from typing import Any

PATIENCE = 2.0
"""Seconds after which a task that was told to stop is told again."""


async def ended(*tasks: asyncio.Future[Any], patience: float = PATIENCE) -> None:
    """Cancel tasks until they have ended; what they raise is theirs.

    Once is not enough: ``asyncio.wait_for`` of Python 3.11 and older loses a cancellation that comes together with what
    it waits for (gh-86296), and psycopg waits for each answer of the database with it. A task that goes round in a loop
    then goes on for ever.

    Args:
        tasks: those of this loop.
        patience: seconds until one that has not ended is told again; longer than it needs to end in good order.
    """
    while pending := {one for one in tasks if not one.done()}:
        for one in pending:
            one.cancel()
        await asyncio.wait(pending, timeout=patience)
