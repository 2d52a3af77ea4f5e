"""Files through the gateway: up, down, by range, versions, deleted and brought back; with real servers behind it."""

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
from files_kit import MIB, ended, gateway, objects, uploaded
from gateway_kit import AuthService, Person, World
from real_servers import RedisServer, S3Server
from zentoria_backend.jobs.sweep import sweep
from zentoria_backend.services import services_of
from zentoria_schema.embedded import PostgresServer


@pytest.fixture(scope="module")
def stored(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, s3_server: S3Server
) -> Iterator[World]:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin, s3_server)


@pytest_asyncio.fixture
async def running(stored: World) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient]]:
    async with gateway(stored) as found:
        yield found


@pytest.fixture
def person(stored: World) -> Person:
    return stored.person()


Running = tuple[FastAPI, httpx2.AsyncClient]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 20 * MIB + 7])
async def test_a_file_comes_back_as_it_was(stored: World, running: Running, person: Person, size: int) -> None:
    _, client = running
    data = os.urandom(size)
    file = await uploaded(client, person, data, "Résumé 1.bin")
    assert (file["size"], file["sha256"], file["version"]) == (size, hashlib.sha256(data).hexdigest(), 1)
    got = await client.get(f"/api/v1/files/{file['id']}/content", headers=person.headers)
    assert (got.status_code, got.content == data, got.headers["content-length"]) == (200, True, str(size))
    assert got.headers["etag"] == f'"{file["sha256"]}"'
    assert got.headers["content-disposition"].endswith("filename*=UTF-8''R%C3%A9sum%C3%A9%201.bin")
    assert got.headers["x-content-type-options"] == "nosniff"
    keys = stored.admin.execute("select path from files where id = %s", [file["id"]]).fetchone()
    assert keys is not None
    assert keys[0].startswith(f"uploads/{person.id}/") and uuid.UUID(keys[0].rpartition("/")[2])
    assert "sum" not in keys[0]


@pytest.mark.asyncio
async def test_a_form_is_taken_with_its_fields_and_one_file(running: Running, person: Person) -> None:
    _, client = running
    data = os.urandom(3 * MIB)
    form = {"sha256": hashlib.sha256(data).hexdigest()}
    answer = await client.post(
        "/api/v1/mcp/upload", data=form, files={"file": ("../../etc/passwd", data, "application/x-thing")},
        headers=person.headers,
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['job']['id']}"
    job = await ended(client, person, answer.json()["job"]["id"])
    file = (await client.get(f"/api/v1/files/{job['file_id']}", headers=person.headers)).json()
    assert (file["filename"], file["size"], file["mime_type"]) == ("passwd", len(data), "application/x-thing")


@pytest.mark.asyncio
async def test_ranges(running: Running, person: Person) -> None:
    _, client = running
    data = os.urandom(3 * MIB)
    file = await uploaded(client, person, data)
    path, etag = f"/api/v1/files/{file['id']}/content", f'"{file["sha256"]}"'

    async def get(**headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.get(path, headers={**person.headers, **named})

    part = await get(range="bytes=100-199")
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert (await get(range="bytes=-5")).content == data[-5:]
    assert (await get(range=f"bytes={len(data) - 1}-")).content == data[-1:]
    assert (await get(range="bytes=0-99999999999999999999")).content == data
    beyond = await get(range=f"bytes={len(data)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    for whole in ("bytes=0-1,5-6", "bytes=5-1", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=" + "0-0," * 1000):
        assert (await get(range=whole)).status_code == 200, whole
    assert (await get(range="bytes=0-9", if_range=etag)).status_code == 206
    assert (await get(range="bytes=0-9", if_range='"other"')).status_code == 200
    assert (await get(if_none_match=f'"x", W/{etag}')).status_code == 304


@pytest.mark.asyncio
async def test_versions_are_kept_and_read(running: Running, person: Person) -> None:
    _, client = running
    one = await uploaded(client, person, b"first words")
    two = await uploaded(client, person, b"other words", "a.bin", replaces=one["id"])
    assert (two["id"], two["version"]) == (one["id"], 2)
    listed = (await client.get(f"/api/v1/files/{one['id']}/versions", headers=person.headers)).json()["items"]
    assert [(each["number"], each["current"]) for each in listed] == [(2, True), (1, False)]
    path = f"/api/v1/files/{one['id']}/content"
    assert (await client.get(path, params={"version": 1}, headers=person.headers)).content == b"first words"
    assert (await client.get(path, headers=person.headers)).content == b"other words"
    assert (await client.get(path, params={"version": 3}, headers=person.headers)).status_code == 404


@pytest.mark.asyncio
async def test_deleted_brought_back_and_gone_for_good(stored: World, running: Running, person: Person) -> None:
    app, client = running
    file = await uploaded(client, person, b"words")
    path = f"/api/v1/files/{file['id']}"
    assert (await client.delete(path, headers={**person.headers, "if-match": '"77"'})).status_code == 412
    deleted = (await client.delete(path, headers=person.headers)).json()
    assert deleted["deleted_at"] and deleted["purge_after"]
    assert (await client.get(f"{path}/content", headers=person.headers)).status_code == 404
    names = [one["id"] for one in (await client.get("/api/v1/files", headers=person.headers)).json()["items"]]
    assert file["id"] not in names
    bin_ = (await client.get("/api/v1/files", params={"deleted": "true"}, headers=person.headers)).json()["items"]
    assert [one["id"] for one in bin_] == [file["id"]]
    assert (await client.post(f"{path}/restore", headers=person.headers)).json()["deleted_at"] is None
    assert (await client.get(f"{path}/content", headers=person.headers)).content == b"words"
    await client.delete(path, headers=person.headers)
    key = stored.admin.execute("select path from files where id = %s", [file["id"]]).fetchone()
    stored.admin.execute("update files set purge_after = now() - interval '1 s' where id = %s", [file["id"]])
    assert key is not None and key[0] in objects(stored)
    assert (await sweep(services_of(app)))["files"] == 1
    assert key[0] not in objects(stored)
    assert (await client.get(path, headers=person.headers)).status_code == 404


@pytest.mark.asyncio
async def test_lists_are_searched_by_words_and_paged(running: Running, person: Person) -> None:
    _, client = running
    for name in ("Invoice-2026 Müller.pdf", "invoice 2025.txt", "holiday.txt"):
        await uploaded(client, person, b"%PDF-1.4 x" if name.endswith("pdf") else b"x", name)

    async def names(**query: Any) -> list[str]:
        answer = await client.get("/api/v1/mcp/files", params=query, headers=person.headers)
        assert answer.status_code == 200, answer.text
        return [one["filename"] for one in answer.json()["items"]]

    assert await names(q="invoice 20") == ["invoice 2025.txt", "Invoice-2026 Müller.pdf"]
    assert await names(q="MÜLL") == ["Invoice-2026 Müller.pdf"]
    assert await names(q="' | ! :* & ()") == []
    page = (await client.get("/api/v1/files", params={"limit": 2}, headers=person.headers)).json()
    rest = await names(limit=2, cursor=page["next_cursor"])
    assert len(page["items"]) == 2 and rest == ["Invoice-2026 Müller.pdf"]


@pytest.mark.asyncio
async def test_changed_only_by_who_knows_its_revision(running: Running, person: Person) -> None:
    _, client = running
    file = await uploaded(client, person, b"x")
    path = f"/api/v1/files/{file['id']}"
    headers = {**person.headers, "if-match": f'"{file["revision"]}"'}
    changed = await client.patch(path, json={"filename": "a/b\\c\u202e.txt", "tags": ["b", "a", "b"]}, headers=headers)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["filename"], changed.json()["tags"]) == ("c.txt", ["a", "b"])
    assert (await client.patch(path, json={"filename": "d"}, headers=headers)).status_code == 412
    for bad in ({"filename": ""}, {"filename": "x" * 256}, {"tags": ["a,b"]}, {"tags": ["x"] * 51}, {"size": 1}):
        assert (await client.patch(path, json=bad, headers=person.headers)).status_code == 422, bad


@pytest.mark.asyncio
async def test_another_users_files_uploads_and_jobs_are_not_there(
    stored: World, running: Running, person: Person
) -> None:
    _, client = running
    file = await uploaded(client, person, b"x")
    job = (await client.get("/api/v1/jobs", headers=person.headers)).json()["items"][0]
    upload = stored.admin.execute("select id from uploads where job_id = %s", [job["id"]]).fetchone()
    other = stored.person("member")
    assert upload is not None
    for method, path in (("GET", f"files/{file['id']}"), ("GET", f"files/{file['id']}/content"),
                         ("GET", f"files/{file['id']}/versions"), ("DELETE", f"files/{file['id']}"),
                         ("POST", f"files/{file['id']}/restore"), ("GET", f"jobs/{job['id']}"),
                         ("GET", f"uploads/{upload[0]}"), ("DELETE", f"uploads/{upload[0]}")):  # fmt: skip
        answer = await client.request(method, f"/api/v1/{path}", headers=other.headers)
        assert answer.status_code == 404, (method, path, answer.text)
    replaced = await client.put("/api/v1/uploads", params={"replaces": file["id"]}, content=b"x", headers=other.headers)
    assert replaced.status_code == 404


def _digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content_type", "body", "headers", "status", "kind"),
    [
        ("image/png", b"<html>", {}, 415, "content-mismatch"),
        ("application/pdf", b"MZ\0\0", {}, 415, "content-mismatch"),
        ("application/x-thing", b"abc", {"repr-digest": _digest(b"other")}, 422, "digest-mismatch"),
        ("application/x-thing", b"abc", {"repr-digest": "sha-256=:AAAA:"}, 400, ""),
        ("application/x-thing", b"x" * (2 * MIB + 1), {}, 413, ""),
        ("multipart/form-data", b"abc", {}, 400, "bad-form"),
        ("multipart/form-data; boundary=" + "b" * 300, b"abc", {}, 400, "bad-form"),
        ("multipart/form-data; boundary=b", b"no form at all", {}, 400, "bad-form"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", {}, 422, ""),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nhalf',
            {},
            400,
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 1000 + b"--b--\r\n",
            {},
            400,
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
            {},
            400,
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 5000 + b"\r\n--b--\r\n",
            {},
            400,
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nX: " + b"x" * 9000 + b"\r\n\r\n--b--\r\n",
            {},
            400,
            "bad-form",
        ),
    ],
)
async def test_what_is_refused_leaves_nothing(
    stored: World, person: Person, content_type: str, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    async with gateway(stored, max_body_bytes=2 * MIB) as (_, client):
        before = objects(stored)
        answer = await client.post(
            "/api/v1/mcp/upload", content=body, headers={**person.headers, "content-type": content_type, **headers}
        )
        assert answer.status_code == status, answer.text
        assert answer.json()["type"].rpartition("/")[2] == (kind or "about:blank")
        assert answer.headers["content-type"] == "application/problem+json"
        assert objects(stored) == before
        states = stored.admin.execute("select state from uploads where user_id = %s", [person.id]).fetchall()
        assert {state for (state,) in states} <= {"aborted"}
        assert (await client.get("/api/v1/files", headers=person.headers)).json()["items"] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("sent", [5, 9 * MIB])
async def test_who_stops_in_the_middle_leaves_nothing(
    stored: World, running: Running, person: Person, sent: int
) -> None:
    app, _ = running
    before = objects(stored)
    chunks = [b"x" * min(MIB, sent - at) for at in range(0, sent, MIB)]
    messages: list[dict[str, Any]] = [
        *({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks),
        {"type": "http.disconnect"},
    ]
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http", "method": "PUT", "path": "/api/v1/uploads", "raw_path": b"/api/v1/uploads", "query_string": b"",
        "headers": [(b"authorization", f"Bearer {person.token}".encode()), (b"content-length", b"99999999")],
        "client": ("203.0.113.9", 1), "server": ("gateway.test", 80), "scheme": "http", "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "state": {},
    }  # fmt: skip
    scope["headers"] = [(b"authorization", f"Bearer {person.token}".encode())]
    await app(scope, receive, send)
    assert answers[0]["status"] == 400
    row = stored.admin.execute(
        "select state, bucket, object_key from uploads where user_id = %s", [person.id]
    ).fetchone()
    assert row is not None and row[0] == "aborted"
    assert await services_of(app).files.unfinished(row[1], row[2]) == []
    assert objects(stored) == before


@pytest.mark.asyncio
async def test_every_step_is_in_the_audit_trail(stored: World, running: Running, person: Person) -> None:
    _, client = running
    before = stored.last_audit()
    file = await uploaded(client, person, b"words", "a.txt")
    await client.get(f"/api/v1/files/{file['id']}/content", headers={**person.headers, "range": "bytes=1-2"})
    await client.delete(f"/api/v1/files/{file['id']}", headers=person.headers)
    rows = [row for row in stored.audit(after=before) if row["user_id"] == person.id]
    assert [row["action"] for row in rows] == ["files.upload", "files.download", "files.delete"]
    assert rows[1]["details"] == {"version": 1, "start": 1, "length": 2}


@pytest.mark.asyncio
async def test_without_the_object_storage_the_rest_goes_on_and_it_comes_back(
    stored: World, running: Running, person: Person
) -> None:
    app, client = running
    file = await uploaded(client, person, b"words")
    assert stored.s3 is not None
    stored.s3.stop()
    try:
        for answer in (
            await client.put("/api/v1/uploads", content=b"x", headers=person.headers),
            await client.put("/api/v1/uploads", content=b"x" * 9 * MIB, headers=person.headers),
            await client.get(f"/api/v1/files/{file['id']}/content", headers=person.headers),
        ):
            assert (answer.status_code, answer.json()["service"]) == (503, "s3"), answer.text
            assert answer.headers["retry-after"]
        assert (await client.get("/api/v1/files", headers=person.headers)).status_code == 200
        assert (await client.delete(f"/api/v1/files/{file['id']}", headers=person.headers)).status_code == 200
    finally:
        stored.s3.start()
    await uploaded(client, person, b"x" * 9 * MIB)
    # what could not be removed then is removed now
    stored.admin.execute("update uploads set expires_at = now() where state = 'open'")
    assert (await sweep(services_of(app)))["uploads"] == 2
    states = stored.admin.execute("select state from uploads where user_id = %s", [person.id]).fetchall()
    assert sorted(state for (state,) in states) == ["aborted", "aborted", "done", "done"]
