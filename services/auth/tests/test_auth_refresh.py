"""Refresh families against a real Redis: rotation, two at once, reuse, what lies at rest."""

from __future__ import annotations

import asyncio
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from zentoria_auth.tokens import refresh
from zentoria_auth.tokens.refresh import Outcome, RefreshFamilies, family_of

PREFIX = "auth:"


async def close_window(redis: Redis, family: uuid.UUID) -> None:
    """What Redis itself does when the window is over."""
    assert await redis.delete(f"{PREFIX}salt:{family.hex}") == 1


@pytest.mark.asyncio
async def test_a_token_is_spent_for_its_successor_and_the_family_ends_after_seven_days(redis_client: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    token = await families.begin(family)
    assert family_of(token) == family
    assert await redis_client.ttl(f"{PREFIX}family:{family.hex}") == 604_800
    seen = {token}
    for _ in range(5):
        turned = await families.rotate(token)
        assert turned.outcome is Outcome.ROTATED
        assert 604_700 <= turned.expires_in <= 604_800
        token = turned.token
        seen.add(token)
    assert len(seen) == 6
    assert 0 < await redis_client.ttl(f"{PREFIX}spent:{family.hex}") <= 604_800
    assert 0 < await redis_client.pttl(f"{PREFIX}salt:{family.hex}") <= 10_000


@pytest.mark.asyncio
async def test_fifty_at_once_get_one_successor_and_it_goes_on(redis_client: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    token = await families.begin(family)
    for _ in range(3):
        turned = await asyncio.gather(*(families.rotate(token) for _ in range(50)))
        assert sorted(one.outcome for one in turned) == sorted([Outcome.ROTATED] + [Outcome.AGAIN] * 49)
        (token,) = {one.token for one in turned}


@pytest.mark.asyncio
async def test_a_stolen_token_used_later_kills_the_family(redis_client: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    stolen = await families.begin(family)
    current = (await families.rotate(stolen)).token
    await close_window(redis_client, family)
    assert (await families.rotate(stolen)).outcome is Outcome.KILLED
    assert (await families.rotate(stolen)).outcome is Outcome.KILLED
    assert (await families.rotate(current)).outcome is Outcome.KILLED


@pytest.mark.asyncio
async def test_a_grandparent_is_reuse_even_within_the_window(redis_client: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    first = await families.begin(family)
    second = (await families.rotate(first)).token
    assert (await families.rotate(second)).outcome is Outcome.ROTATED
    assert (await families.rotate(first)).outcome is Outcome.KILLED


@pytest.mark.asyncio
async def test_who_knows_only_the_familys_name_ends_nothing(redis_client: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    token = await families.begin(family)
    forged = f"ztr_{family.hex}_{'A' * 43}"
    assert (await families.rotate(forged)).outcome is Outcome.UNKNOWN
    assert not await families.knows(forged)
    assert await families.knows(token)
    assert (await families.rotate(token)).outcome is Outcome.ROTATED
    assert await families.knows(token)
    assert (await families.rotate(forged)).outcome is Outcome.UNKNOWN


@pytest.mark.asyncio
async def test_redis_holds_no_token(redis_client: Redis, redis_admin: Redis) -> None:
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    tokens = [await families.begin(family)]
    for _ in range(3):
        tokens.append((await families.rotate(tokens[-1])).token)
    dump = ""
    for key in await redis_admin.keys("*"):
        read = {"hash": redis_client.hgetall, "set": redis_client.smembers}
        dump += str(await read.get(await redis_client.type(key), redis_client.get)(key))
    assert "current" in dump
    for token in tokens:
        assert token.split("_", 2)[2] not in dump


@pytest.mark.asyncio
async def test_an_ended_family_is_unknown_and_one_without_measure_is_worn(
    redis_client: Redis, redis_admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "MAX_ROTATIONS", 3)
    families, family = RefreshFamilies(redis_client, PREFIX), uuid.uuid4()
    token = await families.begin(family)
    for _ in range(3):
        token = (await families.rotate(token)).token
    assert (await families.rotate(token)).outcome is Outcome.WORN
    await families.end(family)
    assert (await families.rotate(token)).outcome is Outcome.UNKNOWN
    assert await redis_admin.keys("*") == []


@given(st.one_of(st.text(max_size=100), st.from_regex(re.compile(r"ztr_[0-9a-f]{0,33}_[A-Za-z0-9_-]{0,44}"))))
def test_what_is_no_token_names_no_family(text: str) -> None:
    found = family_of(text)
    assert found is None or text.startswith(f"ztr_{found.hex}_")
