"""Counts of rate limits that go to Redis together, and are each counted as if they had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
import redis.asyncio
import redis.exceptions
from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from real_servers import RedisServer
from zentoria_backend.limits.storage import BatchedRedisStorage

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(redis_server: RedisServer) -> AsyncGenerator[redis.asyncio.Redis]:
    redis_server.flush()
    made = redis.asyncio.Redis(
        host="127.0.0.1",
        port=redis_server.port,
        username="backend",
        password=redis_server.password("backend"),
        decode_responses=True,
    )
    yield made
    await made.aclose()


def limiter(client: redis.asyncio.Redis) -> SlidingWindowCounterRateLimiter:
    return SlidingWindowCounterRateLimiter(BatchedRedisStorage(client, "backend:limits"))


async def test_of_many_at_once_as_many_are_admitted_as_may_be(client: redis.asyncio.Redis) -> None:
    ours, others = limiter(client), limiter(client)  # two processes
    narrow, wide = RateLimitItemPerMinute(7, namespace="narrow"), RateLimitItemPerMinute(900, namespace="wide")
    counted = [(each, item, who) for each in (ours, others) for item in (narrow, wide) for who in ("1", "2")] * 100
    answers = await asyncio.gather(*(each.hit(item, who) for each, item, who in counted))
    admitted = [(item, who) for (_, item, who), answer in zip(counted, answers, strict=True) if answer]
    for who in ("1", "2"):
        assert admitted.count((narrow, who)) == 7
        assert admitted.count((wide, who)) == 200
        assert (await ours.get_window_stats(wide, who)).remaining == 700


async def test_a_redis_that_lost_the_script_gets_it_again(client: redis.asyncio.Redis) -> None:
    ours, item = limiter(client), RateLimitItemPerMinute(3)
    assert await ours.hit(item, "1")
    await client.script_flush()
    assert sorted(await asyncio.gather(*(ours.hit(item, "1") for _ in range(4)))) == [False, False, True, True]


async def test_who_leaves_takes_nobody_along(client: redis.asyncio.Redis) -> None:
    ours, item = limiter(client), RateLimitItemPerMinute(100)
    waiting = [asyncio.create_task(ours.hit(item, str(number))) for number in range(6)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[1::2] == [True] * 3
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert await ours.hit(item, "1")


async def test_without_redis_each_learns_it(client: redis.asyncio.Redis) -> None:
    client.connection_pool.connection_kwargs["port"] = 1
    ours, item = limiter(client), RateLimitItemPerMinute(100)
    answers = await asyncio.gather(*(ours.hit(item, "1") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(answer, redis.exceptions.ConnectionError) for answer in answers)
