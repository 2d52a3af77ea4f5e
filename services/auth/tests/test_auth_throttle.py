"""Delays against a real Redis: strangers wait, the owner gets in, a hundred at once are a hundred."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from zentoria_auth.signin import throttle
from zentoria_auth.signin.throttle import ACCOUNT, ADDRESS, KNOWN, Throttle, client_network

ANNA, HOME, STRANGER = "anna@example.org", "192.0.2.10", "198.51.100.7"


async def fail(one: Throttle, times: int, account: str | None = ANNA, address: str = STRANGER) -> None:
    for _ in range(times):
        assert (await one.attempt(account, address)).allowed


@pytest.mark.asyncio
async def test_delays_begin_after_the_free_ones_and_double_up_to_the_longest(
    redis_client: Redis, redis_admin: Redis
) -> None:
    one = Throttle(redis_client, "auth:")
    await fail(one, ACCOUNT.free - 1)
    last = await one.attempt(ANNA, STRANGER)
    assert (last.allowed, last.locked) == (True, True)
    waits = []
    (key,) = await redis_admin.keys("auth:tries:account:*")
    for _ in range(12):
        refused = await one.attempt(ANNA, STRANGER)
        assert not refused.allowed
        waits.append(refused.wait)
        await redis_client.hset(key, "until", 0)  # time goes by
        assert (await one.attempt(ANNA, STRANGER)).allowed
    assert waits[:4] == pytest.approx([5, 10, 20, 40], abs=3)
    assert waits[-1] == pytest.approx(ACCOUNT.longest, abs=3)


@pytest.mark.asyncio
async def test_a_stranger_does_not_keep_the_owner_out(redis_client: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    await one.succeeded(await one.attempt(ANNA, HOME), ANNA, HOME)
    await fail(one, ACCOUNT.free)
    assert not (await one.attempt(ANNA, STRANGER)).allowed
    assert not (await one.attempt(ANNA, "203.0.113.9")).allowed
    assert (await one.attempt(ANNA, HOME)).allowed
    await one.forget(ANNA)
    assert (await one.attempt(ANNA, "203.0.113.9")).allowed


@pytest.mark.asyncio
async def test_a_known_address_is_counted_too(redis_client: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    await one.succeeded(await one.attempt(ANNA, HOME), ANNA, HOME)
    await fail(one, KNOWN.free, address=HOME)
    assert 0 < (await one.attempt(ANNA, HOME)).wait <= KNOWN.longest
    assert (await one.attempt("berta@example.org", HOME)).allowed


@pytest.mark.asyncio
async def test_one_address_that_tries_many_accounts_waits(redis_client: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    for number in range(ADDRESS.free):
        await fail(one, 1, f"user{number}@example.org")
    assert not (await one.attempt("another@example.org", STRANGER)).allowed
    assert not (await one.attempt(None, STRANGER)).allowed
    assert (await one.attempt("another@example.org", HOME)).allowed


@pytest.mark.asyncio
async def test_ones_own_sign_ins_do_not_wash_an_address_clean(redis_client: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    for number in range(ADDRESS.free):
        own = await one.attempt("eve@example.org", STRANGER)
        assert own.allowed
        await one.succeeded(own, "eve@example.org", STRANGER)
        await fail(one, 1, f"user{number}@example.org")
    assert not (await one.attempt("another@example.org", STRANGER)).allowed


@pytest.mark.asyncio
async def test_a_hundred_at_once_are_a_hundred(redis_client: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    attempts = await asyncio.gather(*(one.attempt(ANNA, STRANGER) for _ in range(100)))
    assert sum(each.allowed for each in attempts) == ACCOUNT.free
    assert sum(each.locked for each in attempts) == 1


@pytest.mark.asyncio
async def test_an_attempt_that_guessed_nothing_is_given_back(redis_client: Redis, redis_admin: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    for _ in range(3 * ADDRESS.free):
        attempt = await one.attempt(ANNA, STRANGER)
        assert attempt.allowed
        await one.give_back(attempt)
    assert await redis_admin.keys("*") == []


@pytest.mark.asyncio
async def test_all_is_forgotten_in_time_and_no_account_is_named(redis_client: Redis, redis_admin: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    await one.succeeded(await one.attempt(ANNA, HOME), ANNA, HOME)
    await fail(one, 1)
    for key in await redis_admin.keys("*"):
        assert 0 < await redis_client.ttl(key) <= throttle.KNOWN_FOR
        assert "anna" not in key


@pytest.mark.asyncio
async def test_questions_for_a_passkey_end_too(redis_client: Redis, redis_admin: Redis) -> None:
    one = Throttle(redis_client, "auth:")
    for _ in range(throttle.QUESTIONS):
        assert await one.question(STRANGER) == 0
    assert 0 < await one.question(STRANGER) <= throttle.QUESTION_SECONDS
    assert await one.question(HOME) == 0
    for key in await redis_admin.keys("*"):
        assert 0 < await redis_admin.ttl(key) <= throttle.QUESTION_SECONDS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("::ffff:192.0.2.10", "192.0.2.10"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_what_counts_as_one_client(address: str, network: str) -> None:
    assert client_network(address) == network
