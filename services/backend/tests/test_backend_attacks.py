"""What one user, or one stranger, cannot do to the others."""

from __future__ import annotations

import asyncio
import datetime
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from gateway_kit import World
from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import FAILURES, Callees
from zentoria_common.problems import Problem

CLIENT = "https://client.example/metadata"


def of(person_id: int) -> Principal:
    return Principal(person_id, "owner", frozenset(), "session", str(uuid.uuid4()))


@pytest.mark.asyncio
@pytest.mark.parametrize("poison", ["\0", "\ud800", "x\0y"])
async def test_a_row_that_cannot_be_kept_as_it_is_takes_no_other_with_it(world: World, poison: str) -> None:
    services, before = world.services(), world.last_audit()
    ada, eve = of(world.person().id), of(world.person().id)
    await asyncio.gather(
        services.audit.record(eve, "mcp.tool", "tool", poison, details={"target": poison, poison: [poison]}),
        services.audit.record(ada, "files.download", "file", "f1"),
    )
    await services.close()
    rows = world.audit(after=before)
    assert {(row["user_id"], row["action"]) for row in rows} == {
        (ada.user_id, "files.download"), (eve.user_id, "mcp.tool"),
    }  # fmt: skip


@pytest.mark.asyncio
async def test_rows_of_others_are_written_where_one_is_refused(world: World) -> None:
    services, before = world.services(), world.last_audit()
    ada, eve = of(world.person().id), of(world.person().id)
    huge = {"text": "x" * 70_000}
    answers = await asyncio.gather(
        services.audit.record(eve, "mcp.tool", "tool", "t", details=huge),
        services.audit.record(ada, "files.download", "file", "f1"),
        return_exceptions=True,
    )
    await services.close()
    assert isinstance(answers[0], Exception)
    assert answers[1] is None
    assert [row["user_id"] for row in world.audit(after=before)] == [ada.user_id]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/api/v1/uploads?filename=a.json"), ("POST", "/api/v1/mcp/upload?filename=a.json")]
)
@pytest.mark.parametrize("kind", [{"content-type": "application/json"}, {}])
async def test_an_upload_with_an_idempotency_key_is_not_held_in_memory(
    client: httpx2.AsyncClient, world: World, method: str, path: str, kind: dict[str, str]
) -> None:
    pulled = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(200):
            pulled += 1
            yield b" " * 65_536

    person = world.person()
    headers = {"x-api-key": world.key(person.id, "files:read"), "idempotency-key": str(uuid.uuid4()), **kind}
    answer = await client.request(method, path, content=body(), headers=headers)
    assert answer.status_code == 403  # the scope is missing, and that is said before the body is read
    assert pulled < 5


@pytest.mark.asyncio
async def test_one_user_of_a_program_does_not_use_up_the_quota_of_the_others(world: World) -> None:
    ada, eve = world.person(), world.person()

    def token(person: Any) -> dict[str, str]:
        text = world.auth.token(person.id, sid=person.sid, client_id=CLIENT, scope="files:read")
        return {"Authorization": f"Bearer {text}"}

    async with world.client(limit_key=3) as client:
        for _ in range(5):
            last = await client.get("/api/v1/files", headers=token(eve))
        assert last.status_code == 429
        assert (await client.get("/api/v1/files", headers=token(ada))).status_code == 200


@pytest.mark.asyncio
async def test_a_key_makes_no_key_that_outlives_it(client: httpx2.AsyncClient, world: World) -> None:
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    weak = {"x-api-key": world.key(world.person().id, "keys:write", expires_at=ends)}
    new = {"name": "x", "scopes": ["keys:write"]}
    for longer in (None, (ends + datetime.timedelta(days=1)).isoformat()):
        answer = await client.post("/api/v1/keys", json=new | {"expires_at": longer}, headers=weak)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/outlives-its-maker")
    shorter = (ends - datetime.timedelta(minutes=1)).isoformat()
    assert (await client.post("/api/v1/keys", json=new | {"expires_at": shorter}, headers=weak)).status_code == 201


def _mcp(method: str, params: dict[str, Any], name: str) -> tuple[dict[str, str], dict[str, Any]]:
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {
        "host": "zentoria.test", "accept": "application/json, text/event-stream", "MCP-Protocol-Version": version,
        "Mcp-Method": method, "Mcp-Name": name,
    }  # fmt: skip
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "uri",
    ["zentoria://files/{}", "ZENTORIA://files/{}", "zentoria://FILES/{}", "zentoria://files//{}", "zentoria:/files/{}",
     " zentoria://files/{}", "zentoria://files/{}?x", "zentoria://files:0/{}", "zentoria://x@files/{}",
     "zentoria://%66iles/{}"],
)  # fmt: skip
async def test_no_way_to_write_the_address_reads_a_document_without_the_scope(
    client: httpx2.AsyncClient, world: World, uri: str
) -> None:
    person = world.person()
    row = world.admin.execute(
        "insert into files (user_id, filename, bucket, path, size, mime_type, sha256)"
        " values (%s, 'secret.txt', 'documents', 'x', 0, 'text/plain', %s) returning id",
        [person.id, bytes(32)],
    ).fetchone()
    assert row is not None
    world.admin.execute(
        "insert into file_versions (file_id, user_id, number, bucket, object_key, size, mime_type, sha256)"
        " values (%s, %s, 1, 'documents', %s, 0, 'text/plain', %s)",
        [row[0], person.id, str(uuid.uuid4()), bytes(32)],
    )
    address = uri.format(row[0])
    headers, body = _mcp("resources/read", {"uri": address}, address)
    weak = {"x-api-key": world.key(person.id, "jobs:read")}
    answer = await client.post("/mcp", json=body, headers=headers | weak)
    assert "contents" not in answer.text


@pytest.mark.asyncio
async def test_what_a_tool_fails_at_is_not_told_in_the_words_of_the_database(
    client: httpx2.AsyncClient, world: World
) -> None:
    person = world.person()
    row = world.admin.execute(
        "insert into workflows (user_id, name) values (%s, 'w') returning id", [person.id]
    ).fetchone()
    assert row is not None
    arguments = {"workflow_id": str(row[0]), "input": {"a": "\0"}}
    headers, body = _mcp("tools/call", {"name": "workflows_run", "arguments": arguments}, "workflows_run")
    key = {"x-api-key": world.key(person.id, "workflows:run")}
    answer = await client.post("/mcp", json=body, headers=headers | key)
    for word in ("psycopg", "SQL", "INSERT", "sqlalche", person.sid, "digest"):
        assert word not in answer.text
    assert json.loads(answer.text)["result"]["isError"] is True


@pytest.mark.asyncio
async def test_what_a_tool_call_names_is_noted_whatever_it_is(client: httpx2.AsyncClient, world: World) -> None:
    person, before = world.person(), world.last_audit()
    headers = {
        "host": "zentoria.test", "accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25",
        "x-api-key": world.key(person.id, "files:read"), "content-type": "application/json",
    }  # fmt: skip
    params = {"name": "a\0b", "arguments": {"file_id": "\0"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    answer = await client.post("/mcp", content=body, headers=headers)
    assert answer.status_code < 500
    rows = [row for row in world.audit(after=before) if row["action"] == "mcp.tool"]
    assert [(row["user_id"], row["resource_id"]) for row in rows] == [(person.id, "a\ufffdb")]


@pytest.mark.asyncio
async def test_what_one_request_provokes_does_not_close_a_container_to_the_others() -> None:
    asked: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.url.path != "/login":
            return httpx2.Response(200, json={})
        body = {"type": "/problems/unavailable", "status": 503, "service": "directory"}
        return httpx2.Response(503, json=body, headers={"content-type": "application/problem+json", "retry-after": "7"})

    callees = Callees(None, {"auth": "http://auth.test"}, timeout=5, transport=httpx2.MockTransport(answer))
    for _ in range(2 * FAILURES):
        with pytest.raises(Problem) as caught:
            await callees.call("auth", "POST", "/login", json={})
        assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "7")
    assert (await callees.call("auth", "POST", "/refresh", json={})).status_code == 200
    assert len(asked) == 2 * FAILURES + 1
    await callees.close()
