"""Resumable uploads (tus 1.0): what came is kept, and nothing is there twice or half."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI
from files_kit import MIB, OFFSET, TUS, created, ended, gateway, metadata, objects
from gateway_kit import AuthService, Person, World
from hypothesis import given
from hypothesis import strategies as st
from real_servers import RedisServer, S3Server
from zentoria_backend.jobs.sweep import sweep
from zentoria_backend.services import services_of
from zentoria_backend.uploads.tus import parse_metadata
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.embedded import PostgresServer

Running = tuple[FastAPI, httpx2.AsyncClient]


@pytest.fixture(scope="module")
def stored(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, s3_server: S3Server
) -> Iterator[World]:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin, s3_server)


@pytest_asyncio.fixture
async def running(stored: World) -> AsyncIterator[Running]:
    async with gateway(stored) as found:
        yield found


@pytest.fixture
def person(stored: World) -> Person:
    return stored.person()


async def patch(
    client: httpx2.AsyncClient, person: Person, path: str, offset: int, data: bytes, **headers: str
) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.patch(
        path, content=data, headers={**person.headers, **OFFSET, "Upload-Offset": str(offset), **named}
    )


async def offset_of(client: httpx2.AsyncClient, person: Person, path: str) -> int:
    answer = await client.head(path, headers={**person.headers, **TUS})
    assert answer.status_code == 200, answer.headers
    return int(answer.headers["upload-offset"])


async def content(client: httpx2.AsyncClient, person: Person, answer: httpx2.Response) -> bytes:
    job = await ended(client, person, answer.headers["zentoria-job"].rpartition("/")[2])
    assert job["state"] == "done", job
    return (await client.get(f"/api/v1/files/{job['file_id']}/content", headers=person.headers)).content


@pytest.mark.asyncio
@pytest.mark.parametrize("steps", [[1, 1, 3], [5 * MIB] * 4, [8 * MIB, 8 * MIB], [9 * MIB, 1, 7 * MIB - 1, 3]])
async def test_it_goes_on_where_it_was(stored: World, running: Running, person: Person, steps: list[int]) -> None:
    _, client = running
    data = os.urandom(sum(steps))
    path = await created(client, person, len(data), filename="a.bin", sha256=hashlib.sha256(data).hexdigest())
    at = 0
    for step in steps:
        assert await offset_of(client, person, path) == at
        answer = await patch(client, person, path, at, data[at : at + step])
        at += step
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(at)), answer.text
    assert await content(client, person, answer) == data
    found = (await client.get(path, headers=person.headers)).json()
    assert (found["state"], found["received"]) == ("done", len(data))
    row = stored.admin.execute("select object_key from uploads where id = %s", [found["id"]]).fetchone()
    assert row is not None
    assert {one for one in objects(stored) if one.startswith(row[0])} == {row[0]}


@pytest.mark.asyncio
async def test_nothing_and_all_at_once(running: Running, person: Person) -> None:
    _, client = running
    headers = {**person.headers, **OFFSET, "Upload-Metadata": metadata(filename="x.txt")}
    empty = await client.post("/api/v1/uploads", headers={**headers, "Upload-Length": "0"})
    assert await content(client, person, empty) == b""
    whole = await client.post("/api/v1/uploads", headers={**headers, "Upload-Length": "5"}, content=b"hello")
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, "5")
    assert await content(client, person, whole) == b"hello"
    part = await client.post("/api/v1/uploads", headers={**headers, "Upload-Length": "5"}, content=b"he")
    assert part.headers["upload-offset"] == "2"
    rest = await patch(client, person, part.headers["location"], 2, b"llo")
    assert await content(client, person, rest) == b"hello"


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
async def test_a_chunk_with_a_wrong_checksum_is_not_kept(running: Running, person: Person, algorithm: str) -> None:
    _, client = running
    data = os.urandom(9 * MIB)
    path = await created(client, person, len(data))

    def checksum(of: bytes) -> str:
        digest = hashlib.new(algorithm, of, usedforsecurity=False).digest()
        return f"{algorithm} {base64.b64encode(digest).decode()}"

    wrong = await patch(client, person, path, 0, data, upload_checksum=checksum(b"other"))
    assert (wrong.status_code, wrong.json()["type"]) == (460, "/problems/checksum-mismatch")
    assert await offset_of(client, person, path) == 0
    right = await patch(client, person, path, 0, data, upload_checksum=checksum(data))
    assert right.status_code == 204, right.text
    assert await content(client, person, right) == data


@pytest.mark.asyncio
async def test_bad_requests(running: Running, person: Person) -> None:
    _, client = running
    path = await created(client, person, 10)
    cases: list[tuple[dict[str, str | None], int]] = [
        ({"Upload-Offset": "3"}, 409), ({"Upload-Offset": "-1"}, 400), ({"Upload-Offset": "x"}, 400),
        ({"Upload-Offset": None}, 400), ({"Content-Type": "text/plain"}, 415), ({"Tus-Resumable": "0.2"}, 412),
        ({"Tus-Resumable": None}, 412), ({"Upload-Checksum": "crc32 AAAA"}, 400), ({"Upload-Checksum": "md5 !"}, 400),
    ]  # fmt: skip
    for changed, status in cases:
        headers = {**person.headers, **OFFSET, "Upload-Offset": "0", **changed}
        given_ = {name: value for name, value in headers.items() if value is not None}
        answer = await client.patch(path, content=b"x", headers=given_)
        assert answer.status_code == status, (changed, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    too_much = await patch(client, person, path, 0, b"x" * 11)
    assert too_much.status_code == 413
    assert await offset_of(client, person, path) == 0
    for length in ("-1", "x", "9" * 30, str(65 * MIB)):
        answer = await client.post("/api/v1/uploads", headers={**person.headers, **TUS, "Upload-Length": length})
        assert answer.status_code in (400, 413), (length, answer.text)
    for text in ("filename", "filename !!", "filename /w==", "filename aa==,filename aa==", " ,", "a b c"):
        headers = {**person.headers, **TUS, "Upload-Length": "1", "Upload-Metadata": text}
        assert (await client.post("/api/v1/uploads", headers=headers)).status_code in (201, 400), text
    answer = await client.options("/api/v1/uploads")
    assert (answer.status_code, answer.headers["tus-max-size"]) == (204, str(64 * MIB))


@given(st.text(max_size=200))
def test_metadata_is_understood_or_refused(text: str) -> None:
    try:
        found = parse_metadata(text)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert all(isinstance(value, str) for value in found.values())


@pytest.mark.asyncio
async def test_two_at_once_write_to_it_one_after_the_other(running: Running, person: Person) -> None:
    app, client = running
    data = os.urandom(9 * MIB)
    path = await created(client, person, len(data))
    answers = await asyncio.gather(*(patch(client, person, path, 0, data) for _ in range(4)))
    statuses = sorted(one.status_code for one in answers)
    assert statuses[0] == 204 and set(statuses[1:]) <= {409, 410, 423}, statuses
    whole = next(one for one in answers if one.status_code == 204)
    assert await content(client, person, whole) == data
    assert len((await client.get("/api/v1/files", headers=person.headers)).json()["items"]) == 1
    # even where the lock is gone (Redis was restarted), only one of two gets its bytes in
    path = await created(client, person, 100)
    services = services_of(app)
    real, services_lock = services.redis.lock, asyncio.Lock()
    assert not services_lock.locked()

    def no_lock(name: str, **options: Any) -> Any:
        return real(f"{name}:{uuid.uuid4()}", **options)

    services.redis.lock = no_lock  # type: ignore[method-assign] # as if Redis had forgotten it
    try:
        answers = await asyncio.gather(*(patch(client, person, path, 0, bytes([one]) * 50) for one in range(3)))
    finally:
        services.redis.lock = real  # type: ignore[method-assign] # as it was
    assert sorted(one.status_code for one in answers)[0] == 204
    assert [one.status_code for one in answers].count(204) == 1
    assert await offset_of(client, person, path) == 50


async def send_and_drop(app: FastAPI, person: Person, path: str, offset: int, data: bytes, **headers: str) -> int:
    """A PATCH whose client is gone after ``data``; the status that nobody hears."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": data[at : at + MIB], "more_body": True} for at in range(0, len(data), MIB)
    ] + [{"type": "http.disconnect"}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    named = {**person.headers, **OFFSET, "upload-offset": str(offset), **headers}
    scope = {
        "type": "http", "method": "PATCH", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
        "client": ("203.0.113.9", 1), "server": ("gateway.test", 80), "scheme": "http", "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


@pytest.mark.asyncio
async def test_a_connection_that_breaks_loses_nothing_that_came(running: Running, person: Person) -> None:
    app, client = running
    data = os.urandom(12 * MIB)
    path = await created(client, person, len(data))
    assert await send_and_drop(app, person, path, 0, data[: 9 * MIB + 5]) == 400
    assert await offset_of(client, person, path) == 9 * MIB + 5
    assert await send_and_drop(app, person, path, 9 * MIB + 5, data[9 * MIB + 5 : 9 * MIB + 9]) == 400
    at = await offset_of(client, person, path)
    assert at == 9 * MIB + 9
    sha = f"sha1 {base64.b64encode(bytes(20)).decode()}"
    assert await send_and_drop(app, person, path, at, data[at : at + MIB], **{"upload-checksum": sha}) == 400
    assert await offset_of(client, person, path) == at
    assert await content(client, person, await patch(client, person, path, at, data[at:])) == data


@pytest.mark.asyncio
async def test_ended_or_expired_nothing_is_left_of_it(stored: World, running: Running, person: Person) -> None:
    app, client = running
    before = objects(stored)
    for expires in (False, True):
        path = await created(client, person, 20 * MIB)
        assert (await patch(client, person, path, 0, os.urandom(10 * MIB))).status_code == 204
        one = path.rpartition("/")[2]
        row = stored.admin.execute("select bucket, object_key from uploads where id = %s", [one]).fetchone()
        assert row is not None and objects(stored) != before  # the rest that fills no part
        if expires:
            stored.admin.execute("update uploads set expires_at = now() - interval '1 s' where id = %s", [one])
            assert (await patch(client, person, path, 10 * MIB, b"x")).status_code == 410
            assert (await sweep(services_of(app)))["uploads"] == 1
        else:
            assert (await client.delete(path, headers={**person.headers, **TUS})).status_code == 204
        assert objects(stored) == before
        assert await services_of(app).files.unfinished(row[0], row[1]) == []
        assert (await client.head(path, headers={**person.headers, **TUS})).status_code == 410
        assert (await client.get(path, headers=person.headers)).json()["state"] == "aborted"


@pytest.mark.asyncio
async def test_nothing_is_left_of_an_upload_whose_job_failed_for_good(
    stored: World, running: Running, person: Person
) -> None:
    app, client = running
    before, services = objects(stored), services_of(app)

    async def nobody(*_: object) -> bool:
        return False

    real, services.jobs.defer = services.jobs.defer, nobody  # type: ignore[method-assign] # no worker takes it up
    try:
        sent = await client.put("/api/v1/uploads", content=b"words", headers=person.headers)
    finally:
        services.jobs.defer = real  # type: ignore[method-assign] # as it was
    accepted = sent.json()
    path = f"/api/v1/uploads/{accepted['upload_id']}"
    stored.admin.execute("update uploads set expires_at = now() where id = %s", [accepted["upload_id"]])
    assert (await sweep(services))["uploads"] == 0  # it waits for its job
    assert objects(stored) != before
    stored.admin.execute(
        "update jobs set state = 'failed', error = '{\"status\": 500}' where id = %s", [accepted["job"]["id"]]
    )
    assert (await sweep(services))["uploads"] == 1
    assert objects(stored) == before
    shown = (await client.get(path, headers=person.headers)).json()
    assert (shown["state"], shown["error"]) == ("failed", {"status": 500})


@pytest.mark.asyncio
async def test_an_object_storage_that_is_away_at_the_end_costs_one_step(
    stored: World, running: Running, person: Person
) -> None:
    app, client = running
    path = await created(client, person, 5)
    services = services_of(app)
    real = services.files.put

    async def fails(*_: object) -> None:
        raise Unavailable("s3")

    services.files.put = fails  # type: ignore[method-assign] # the object storage goes away at the last step
    try:
        assert (await patch(client, person, path, 0, b"hello")).status_code == 503
    finally:
        services.files.put = real  # type: ignore[method-assign] # it is there again
    assert await offset_of(client, person, path) == 0
    assert await content(client, person, await patch(client, person, path, 0, b"hello")) == b"hello"


@pytest.mark.asyncio
async def test_parts_that_nobody_put_together_are_an_object_when_somebody_asks(
    running: Running, person: Person
) -> None:
    app, client = running
    data = os.urandom(9 * MIB)
    path = await created(client, person, len(data))
    services = services_of(app)
    real = services.files.complete

    async def fails(*_: object) -> None:
        raise Unavailable("s3")

    services.files.complete = fails  # type: ignore[method-assign] # the object storage goes away at the last step
    try:
        assert (await patch(client, person, path, 0, data)).status_code == 503
    finally:
        services.files.complete = real  # type: ignore[method-assign] # it is there again
    asked = await client.head(path, headers={**person.headers, **TUS})
    assert asked.headers["upload-offset"] == str(len(data))
    assert await content(client, person, asked) == data


@pytest.mark.asyncio
async def test_content_that_is_not_what_was_declared_is_refused_by_the_job(
    stored: World, running: Running, person: Person
) -> None:
    _, client = running
    before = objects(stored)
    for name, value, kind in (("filetype", "image/png", "content-mismatch"), ("sha256", "ab" * 32, "digest-mismatch")):
        path = await created(client, person, 6, **{name: value})
        first = await patch(client, person, path, 0, b"GIF")
        assert first.status_code == 204
        answer = await patch(client, person, path, 3, b"89a")
        job = await ended(client, person, answer.headers["zentoria-job"].rpartition("/")[2])
        assert (job["state"], job["error"]["type"]) == ("failed", f"/problems/{kind}")
        assert (await client.get(path, headers=person.headers)).json()["state"] == "failed"
    assert objects(stored) == before
    assert (await client.get("/api/v1/files", headers=person.headers)).json()["items"] == []


@pytest.mark.asyncio
async def test_no_more_than_so_many_are_on_their_way(
    stored: World, running: Running, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = running
    monkeypatch.setattr("zentoria_backend.uploads.service.MAX_OPEN", 2)
    for _ in range(2):
        await created(client, person, 10)
    answer = await client.post("/api/v1/uploads", headers={**person.headers, **TUS, "Upload-Length": "1"})
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/too-many-uploads")
    assert answer.headers["retry-after"]
