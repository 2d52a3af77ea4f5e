"""Settings, the audit trail, accounts and sessions, over HTTP."""

from __future__ import annotations

import datetime
import json
from typing import Any

import httpx2
import pytest
from gateway_kit import World, client_of


@pytest.mark.asyncio
async def test_a_setting_is_changed_by_who_saw_it_last(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    path = "/api/v1/settings/chat.default_model"
    before = world.last_audit()
    made = await client.put(path, json={"value": "llama3.2:3b"}, headers=person.headers)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    read = await client.get(path, headers=person.headers)
    assert read.json()["value"] == "llama3.2:3b"
    assert read.headers["cache-control"] == "private, no-cache"
    again = await client.get(path, headers={**person.headers, "If-None-Match": read.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for tag, status in (('"1"', 200), ('"1"', 412), ("*", 200), ('"9", "3"', 200)):
        answer = await client.put(path, json={"value": tag}, headers={**person.headers, "If-Match": tag})
        assert answer.status_code == status
    assert (await client.delete(path, headers={**person.headers, "If-Match": '"1"'})).status_code == 412
    assert (await client.delete(path, headers=person.headers)).status_code == 204
    assert (await client.get(path, headers=person.headers)).status_code == 404
    new = {**person.headers, "If-Match": "*"}
    assert (await client.put(path, json={"value": 1}, headers=new)).status_code == 412
    rows = world.audit(after=before)
    assert [row["action"] for row in rows] == ["settings.change"] * 4 + ["settings.remove"]
    assert "llama" not in json.dumps(rows, default=str)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("\0", 422),
        ({"a": "\0"}, 422),
        (None, 201),
        ("x" * 20_000, 422),
        ([[[]]], 201),
        (10**400, 201),
        ("\U0001f600", 201),
    ],
)
async def test_values(client: httpx2.AsyncClient, world: World, value: Any, status: int) -> None:
    key = f"test.{abs(hash(str(value)))}"
    answer = await client.put(f"/api/v1/settings/{key}", json={"value": value}, headers=world.person().headers)
    assert answer.status_code == status, answer.text
    if status == 201:
        shown = await client.get(f"/api/v1/settings/{key}", headers=world.person("member").headers)
        assert shown.json()["value"] == value


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"value": "\xff\xfe"}',
        b'{"value": NaN}',
        b'{"value": "\\ud800"}',
        b"[" * 5000,
        b"",
        b"null",
        b'{"value": 1, "value": 2, "x": 3}',
        b"1" * 5000,
    ],
    ids=["deep", "no utf-8", "nan", "surrogate", "deep and cut", "empty", "null", "unknown field", "long number"],
)
async def test_bodies_that_are_no_good(client: httpx2.AsyncClient, world: World, raw: bytes) -> None:
    headers = {**world.person().headers, "Content-Type": "application/json"}
    answer = await client.put("/api/v1/settings/bad.body", content=raw, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text


@pytest.mark.asyncio
async def test_the_trail_is_searched(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    for name in ("alpha", "be%ta"):
        body = {"name": name, "scopes": ["keys:read"]}
        await client.post(
            "/api/v1/keys",
            json=body,
            headers={**person.headers, "User-Agent": "test/1", "X-Request-ID": "request-" + name[:2]},
        )
    key = (await client.get("/api/v1/keys", headers=person.headers)).json()["items"][0]
    await client.delete(f"/api/v1/keys/{key['id']}", headers=person.headers)

    async def found(**params: Any) -> list[str]:
        answer = await client.get("/api/v1/audit", params={"user_id": person.id} | params, headers=person.headers)
        assert answer.status_code == 200, answer.text
        return [row["action"] for row in answer.json()["items"]]

    assert await found() == ["keys.revoke", "keys.create", "keys.create"]
    assert await found(action="keys.create") == ["keys.create"] * 2
    assert await found(action="keys.*", limit=1) == ["keys.revoke"]
    assert await found(resource_id=key["id"]) == ["keys.revoke", "keys.create"]
    assert await found(severity="critical") == []
    assert await found(q="E%T") == ["keys.revoke", "keys.create"]
    assert await found(q="TEST/1") == ["keys.create"] * 2
    now = datetime.datetime.now(datetime.UTC)
    assert await found(since=(now + datetime.timedelta(hours=1)).isoformat()) == []
    assert len(await found(until="9999-12-31T23:59:59-23:59")) == 3
    row = (await client.get("/api/v1/audit", params={"q": "alpha"}, headers=person.headers)).json()["items"][0]
    assert (row["ip_address"], row["user_agent"], row["request_id"]) == ("203.0.113.9", "test/1", "request-al")
    assert row["actor"] == f"session:{person.sid}"


@pytest.mark.asyncio
async def test_an_export_goes_on_where_it_ended(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    for _ in range(5):
        await client.post("/api/v1/keys", json={"name": "x", "scopes": ["keys:read"]}, headers=person.headers)
    whole = (await client.get("/api/v1/audit/export", headers=person.headers)).text
    lines: list[str] = []
    while True:
        after = json.loads(lines[-1])["id"] if lines else 0
        part = await client.get("/api/v1/audit/export", params={"after": after, "limit": 2}, headers=person.headers)
        assert part.headers["content-type"].startswith("application/x-ndjson")
        if not part.text:
            break
        lines += part.text.splitlines()
    assert lines == whole.splitlines()
    assert [int(json.loads(line)["id"]) for line in lines] == list(range(1, len(lines) + 1))
    before = "0" * 64
    for line in lines:
        row = json.loads(line)
        assert row["prev_hash"] == before
        before = row["hash"]


@pytest.mark.asyncio
async def test_the_account_comes_from_the_auth_service(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    me = {
        "id": person.id,
        "email": "ada@example.org",
        "name": "Ada",
        "role": "owner",
        "created_at": "2026-11-29T00:00:00Z",
    }
    world.auth.answers["GET", "me"] = (200, me | {"password_hash": "canary"})
    answer = await client.get("/api/v1/users/me", headers={**person.headers, "X-Request-ID": "from-the-proxy"})
    assert answer.json()["email"] == "ada@example.org"
    assert "canary" not in answer.text
    *_, headers = world.auth.asked[-1]
    assert world.auth.callers.caller(headers["zentoria-caller"]) == "backend"
    assert world.auth.callers.on_behalf(headers["zentoria-user"]).user_id == person.id
    assert headers["x-request-id"] == "from-the-proxy"
    assert "authorization" not in headers
    again = await client.get("/api/v1/users/me", headers={**person.headers, "If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.asyncio
async def test_what_the_auth_service_refuses_is_passed_on(client: httpx2.AsyncClient, world: World) -> None:
    refusal = {
        "type": "/problems/otp-required", "title": "Unauthorized", "status": 401, "detail": "a code is wanted",
        "factors": ["totp"], "challenge": "c1", "request_id": "theirs",
    }  # fmt: skip
    world.auth.answers["POST", "login"] = (401, refusal)
    body = {"email": "ada@example.org", "password": "x"}
    answer = await client.post("/api/v1/auth/login", json=body, headers={"User-Agent": "test/2"})
    assert answer.status_code == 401
    assert answer.json() | {"request_id": ""} == refusal | {"request_id": ""}
    assert answer.json()["request_id"] != "theirs"
    sent = world.auth.asked[-1][2]
    assert sent == body | {"client": {"ip": "203.0.113.9", "user_agent": "test/2"}}


@pytest.mark.asyncio
@pytest.mark.parametrize("given", [(500, {"detail": "boom at 10.10.40.4"}), (200, None), (418, None)])
async def test_an_answer_that_is_none_is_502(client: httpx2.AsyncClient, world: World, given: Any) -> None:
    world.auth.answers["POST", "login"] = given
    answer = await client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": "x"})
    assert answer.status_code == 502
    assert "10.10" not in answer.text


@pytest.mark.asyncio
async def test_sign_in(client: httpx2.AsyncClient, world: World) -> None:
    tokens = {
        "access_token": "a.b.c", "token_type": "Bearer", "expires_in": 900, "refresh_token": "ztr_f_s",
        "refresh_expires_in": 604800, "user": {"id": 1, "email": "a@b.cd", "name": "Ada", "role": "owner"},
    }  # fmt: skip
    world.auth.answers["POST", "login"] = world.auth.answers["POST", "refresh"] = (200, tokens)
    world.auth.answers["POST", "logout"] = (204, None)
    answer = await client.post("/api/v1/auth/login", json={"email": "a@b.cd", "password": "x", "otp": "123456"})
    assert answer.json() == tokens
    assert answer.headers["cache-control"] == "no-store"
    answer = await client.post("/api/v1/auth/refresh", json={"refresh_token": "ztr_f_s"})
    assert answer.json() == tokens
    assert (await client.post("/api/v1/auth/logout", json={"refresh_token": "ztr_f_s"})).status_code == 204


@pytest.mark.asyncio
async def test_sign_in_is_limited_by_address_and_no_stranger_shuts_an_account_out(world: World) -> None:
    world.auth.answers["POST", "login"] = (401, {"type": "/problems/bad-credentials", "status": 401})
    body = {"email": "who@example.org", "password": "x"}
    app = world.app(limit_sign_in=3)
    async with app.router.lifespan_context(app), client_of(app) as client, client_of(app, "198.51.100.7") as owner:
        answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(4)]
        assert (await owner.post("/api/v1/auth/login", json=body)).status_code == 401
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[0].headers["ratelimit-policy"] == '"sign-in";q=3;w=60'
    assert answers[0].headers["ratelimit"].startswith('"sign-in";r=2;t=')
    assert answers[3].json()["type"] == "/problems/rate-limited"
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
