"""Writes that are sent twice, on a real Redis."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx2
import pytest
from gateway_kit import Person, World
from zentoria_backend.idempotency.store import Store

BODY = {"name": "x", "scopes": ["keys:read"]}


async def post(client: httpx2.AsyncClient, person: Person, key: str, body: Any = BODY) -> httpx2.Response:
    return await client.post("/api/v1/keys", json=body, headers={**person.headers, "Idempotency-Key": key})


def count(world: World, person: Person) -> int:
    row = world.admin.execute("select count(*) from api_keys where user_id = %s", [person.id]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.asyncio
async def test_the_same_key_and_body_are_done_once(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    answers = [await post(client, person, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert count(world, person) == 1


@pytest.mark.asyncio
async def test_at_the_same_time_one_is_done(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    answers = await asyncio.gather(*(post(client, person, key) for _ in range(10)))
    assert count(world, person) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["type"] == "/problems/request-in-progress"


@pytest.mark.asyncio
async def test_another_body_is_refused(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    assert (await post(client, person, key)).status_code == 201
    answer = await post(client, person, key, BODY | {"name": "y"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert count(world, person) == 1


@pytest.mark.asyncio
async def test_a_key_is_of_one_credential(client: httpx2.AsyncClient, world: World) -> None:
    one, other, key = world.person(), world.person(), str(uuid.uuid4())
    first, second = await post(client, one, key), await post(client, other, key)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.asyncio
async def test_what_was_not_done_may_be_tried_again(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    weak = {"Authorization": f"Bearer {world.key(person.id, 'keys:read')}", "Idempotency-Key": key}
    assert (await client.post("/api/v1/keys", json=BODY, headers=weak)).status_code == 403
    assert (await client.post("/api/v1/keys", json=BODY, headers=weak)).headers.get("idempotency-replayed") is None
    wrong = [await post(client, person, key, {"name": ""}) for _ in range(2)]
    assert [answer.status_code for answer in wrong] == [422, 422]
    assert wrong[1].headers["idempotency-replayed"] == "true"


@pytest.mark.asyncio
async def test_redis_learns_neither_the_secret_nor_the_key(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    secret = (await post(client, person, key)).json()["key"]
    services = client._transport.app.state.services  # type: ignore[attr-defined] # httpx2.ASGITransport's
    names = [name async for name in services.redis.scan_iter("backend:idempotency:*")]
    kept = json.dumps([names, [await services.redis.get(name) for name in names]])
    assert names
    assert secret not in kept
    assert key not in kept
    for name in names:
        assert 0 < await services.redis.ttl(name) <= 24 * 3600


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["short", "x" * 300, "sixteen letters!", "a\tbbbbbbbbbbbbbbbbbbbb"])
async def test_a_key_that_is_none_is_refused(client: httpx2.AsyncClient, world: World, key: str) -> None:
    answer = await post(client, world.person(), key)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-idempotency-key")


@pytest.mark.asyncio
async def test_without_a_credential_it_says_nothing_of_others(client: httpx2.AsyncClient, world: World) -> None:
    person, key = world.person(), str(uuid.uuid4())
    assert (await post(client, person, key)).status_code == 201
    answer = await client.post("/api/v1/keys", json=BODY, headers={"Idempotency-Key": key})
    assert answer.status_code == 401
    forged = {"Authorization": f"Bearer {person.token[:-2]}xx", "Idempotency-Key": key}
    assert (await client.post("/api/v1/keys", json=BODY, headers=forged)).status_code == 401


@pytest.mark.asyncio
async def test_a_large_body_is_refused_all_the_same(client: httpx2.AsyncClient, world: World) -> None:
    async def body() -> Any:
        for _ in range(40):
            yield b" " * 65536

    headers = {**world.person().headers, "Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    answer = await client.post("/api/v1/keys", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.asyncio
async def test_a_crash_keeps_nothing(world: World) -> None:
    services = world.services()
    store = Store(services.redis, "backend")
    who, key = "1 session:x", str(uuid.uuid4())
    assert await store.begin(who, key) is None
    await store.end(who, key, None)
    assert await store.begin(who, key) is None
    await services.close()
