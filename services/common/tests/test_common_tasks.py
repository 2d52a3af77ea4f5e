"""A task is ended for certain, also when it loses a cancellation."""

from __future__ import annotations

import asyncio

import pytest
from zentoria_common.tasks import ended


async def loses(times: int, told: list[str]) -> None:
    """Goes on after that many cancellations, as a loop around ``asyncio.wait_for`` may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            if len(told) > times:
                raise


@pytest.mark.asyncio
@pytest.mark.parametrize("times", [0, 1, 3])
async def test_what_loses_a_cancellation_is_told_again(times: int) -> None:
    told: list[str] = []
    task = asyncio.create_task(loses(times, told))
    await asyncio.sleep(0)
    await ended(task, patience=0.01)
    assert task.cancelled() and len(told) == times + 1


@pytest.mark.asyncio
async def test_what_has_ended_or_fails_is_no_matter() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("on the way out") from None

    over, bad = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fails())
    await asyncio.sleep(0.01)
    await ended(over, bad)
    await ended()
    assert over.done() and isinstance(bad.exception(), ValueError)
