"""The pool of argon2: what it makes, how much it takes at a time, and that nobody learns from its time."""

from __future__ import annotations

import asyncio
import statistics
import time

import argon2
import pytest
from zentoria_auth.accounts.hashing import PasswordHasher
from zentoria_common.problems import Problem

PASSWORD = "correct horse battery staple"


@pytest.mark.asyncio
async def test_a_hash_has_owasps_parameters_and_knows_its_password() -> None:
    hasher = PasswordHasher()
    stored = await hasher.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await hasher.check(PASSWORD, stored)).matches
    assert not (await hasher.check(PASSWORD + "!", stored)).matches
    assert not (await hasher.check(PASSWORD, None)).matches
    assert not (await hasher.check(PASSWORD, "not a hash")).matches
    hasher.close()


@pytest.mark.asyncio
async def test_a_hash_of_weaker_days_is_outdated() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    hasher = PasswordHasher()
    verdict = await hasher.check(PASSWORD, weak)
    assert (verdict.matches, verdict.outdated) == (True, True)
    assert not (await hasher.check("wrong", weak)).outdated
    hasher.close()


@pytest.mark.asyncio
async def test_more_than_may_wait_are_sent_away_and_those_who_leave_still_count() -> None:
    hasher = PasswordHasher(workers=1, max_waiting=3)
    waiting = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await hasher.hash(PASSWORD)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "2")
    waiting[3].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Problem):
        await hasher.hash(PASSWORD)
    await asyncio.gather(*waiting, return_exceptions=True)
    while True:
        try:
            await hasher.hash(PASSWORD)
            break
        except Problem:
            await asyncio.sleep(0.01)
    hasher.close()


@pytest.mark.asyncio
async def test_an_unknown_account_costs_what_a_wrong_password_costs() -> None:
    hasher = PasswordHasher(workers=1)
    stored = await hasher.hash(PASSWORD)
    times: dict[str | None, list[float]] = {stored: [], None: []}
    for _ in range(7):
        for kept, taken in times.items():
            start = time.thread_time()
            hasher._check("wrong", kept)
            taken.append(time.thread_time() - start)
    known, unknown = (statistics.median(taken) for taken in times.values())
    assert 0.4 < unknown / known < 2.5
    hasher.close()
