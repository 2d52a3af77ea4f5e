"""The line before a model: in order, bounded, and fair to users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from zentoria_engine.errors import EngineError
from zentoria_engine.waiting import Waiting

pytestmark = pytest.mark.asyncio


async def settled(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0)


class Line:
    """Requests that have their turn until they are let go."""

    def __init__(self, slots: int, waiting: int, per_user: int) -> None:
        self.line = Waiting(slots, waiting, per_user)
        self.served: list[str] = []
        self.go = asyncio.Event()

    async def ask(self, name: str, user: str) -> None:
        async with self.line.turn(user):
            self.served.append(name)
            await self.go.wait()

    def begin(self, name: str, user: str = "") -> asyncio.Task[None]:
        return asyncio.create_task(self.ask(name, user))


async def test_first_come_first_served_and_the_rest_is_sent_away() -> None:
    it = Line(slots=1, waiting=2, per_user=9)
    tasks = []
    for name in "abc":
        tasks.append(it.begin(name))
        await settled(lambda: it.line.working + it.line.waiting == len(tasks))
    with pytest.raises(EngineError) as caught:
        await it.ask("d", "")
    assert (caught.value.status, caught.value.code) == (503, "queue_full")
    assert caught.value.retry_after is not None and caught.value.retry_after >= 1
    it.go.set()
    await asyncio.gather(*tasks)
    assert it.served == ["a", "b", "c"]
    await it.ask("e", "")


async def test_one_user_leaves_room_for_others() -> None:
    it = Line(slots=1, waiting=9, per_user=2)
    tasks = [it.begin("a", "ann"), it.begin("b", "ann")]
    await settled(lambda: it.line.working + it.line.waiting == 2)
    with pytest.raises(EngineError, match="this user has 2"):
        await it.ask("c", "ann")
    tasks.append(it.begin("d", "bob"))
    it.go.set()
    await asyncio.gather(*tasks)
    await it.ask("e", "ann")


async def test_who_leaves_the_line_is_not_in_it_any_more() -> None:
    it = Line(slots=1, waiting=1, per_user=1)
    first = it.begin("a", "ann")
    await settled(lambda: it.line.working == 1)
    second = it.begin("b", "bob")
    await settled(lambda: it.line.waiting == 1)
    second.cancel()
    await settled(lambda: it.line.waiting == 0)
    third = it.begin("c", "bob")
    await settled(lambda: it.line.waiting == 1)
    first.cancel()
    await settled(lambda: it.served == ["a", "c"])
    it.go.set()
    await third
    assert (it.line.working, it.line.waiting) == (0, 0)
