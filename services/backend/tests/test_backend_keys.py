"""API keys, over HTTP, on a real database."""

from __future__ import annotations

import datetime
from typing import Any

import httpx2
import pytest
from gateway_kit import World


async def made(client: httpx2.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    body = {"name": "backup", "scopes": ["keys:read", "keys:write"]} | changes
    answer = await client.post("/api/v1/keys", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/v1/keys/{answer.json()['id']}"
    return dict(answer.json())


@pytest.mark.asyncio
async def test_a_key_shows_its_secret_once_and_works(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    key = await made(client, person.headers)
    assert key["key"].startswith(f"zt_{key['prefix']}_")
    for headers in ({"X-API-Key": key["key"]}, {"Authorization": f"Bearer {key['key']}"}):
        listed = (await client.get("/api/v1/keys", headers=headers)).json()["items"]
        assert [one["id"] for one in listed] == [key["id"]]
        assert "key" not in listed[0]
    stored = world.admin.execute("select row_to_json(k)::text from api_keys k where id = %s", [key["id"]]).fetchone()
    assert stored is not None
    assert key["key"].split("_", 2)[2] not in stored[0]


@pytest.mark.asyncio
async def test_use_is_noted(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    key = await made(client, person.headers)
    assert key["last_used_at"] is None
    await client.get("/api/v1/keys", headers={"X-API-Key": key["key"]})
    services = client._transport.app.state.services  # type: ignore[attr-defined] # httpx2.ASGITransport's
    await services.access.close()
    shown = (await client.get(f"/api/v1/keys/{key['id']}", headers=person.headers)).json()
    assert shown["last_used_at"] is not None


@pytest.mark.asyncio
async def test_a_key_can_do_no_more_than_who_makes_it(client: httpx2.AsyncClient, world: World) -> None:
    member = world.person("member")
    answer = await client.post("/api/v1/keys", json={"name": "x", "scopes": ["settings:write"]}, headers=member.headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/scope-not-held")
    assert answer.json()["scopes"] == ["settings:write"]
    key = await made(client, member.headers)
    answer = await client.post(
        "/api/v1/keys", json={"name": "x", "scopes": ["files:read"]}, headers={"X-API-Key": key["key"]}
    )
    assert answer.status_code == 403
    owner = world.person()
    answer = await client.post("/api/v1/keys", json={"name": "x", "scopes": ["admin:users"]}, headers=owner.headers)
    assert answer.status_code == 403


@pytest.mark.asyncio
async def test_a_revoked_key_is_refused_at_once(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    key = await made(client, person.headers)
    headers = {"X-API-Key": key["key"]}
    assert (await client.get("/api/v1/keys", headers=headers)).status_code == 200
    path = f"/api/v1/keys/{key['id']}"
    before = world.last_audit()
    assert [(await client.delete(path, headers=person.headers)).status_code for _ in range(2)] == [204, 204]
    answer = await client.get("/api/v1/keys", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the API key was revoked")
    assert (await client.get(path, headers=person.headers)).json()["state"] == "revoked"
    rows = world.audit(after=before)
    assert [row["action"] for row in rows] == ["keys.revoke", "auth.failed"]
    assert rows[0]["actor"] == f"session:{person.sid}"
    assert rows[0]["host"] == "203.0.113.9"


@pytest.mark.asyncio
async def test_an_expired_key_is_refused(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    key = world.key(person.id, "keys:read", expires_at=past)
    assert (await client.get("/api/v1/keys", headers={"X-API-Key": key})).json()["detail"] == "the API key has expired"
    body = {"name": "x", "scopes": ["keys:read"], "expires_at": past.isoformat()}
    assert (await client.post("/api/v1/keys", json=body, headers=person.headers)).status_code == 422


@pytest.mark.asyncio
async def test_another_users_key_is_as_if_it_were_not_there(client: httpx2.AsyncClient, world: World) -> None:
    one, other = world.person(), world.person()
    key = await made(client, one.headers)
    for method in ("GET", "DELETE"):
        answer = await client.request(method, f"/api/v1/keys/{key['id']}", headers=other.headers)
        assert answer.status_code == 404
    assert (await client.get("/api/v1/keys", headers=other.headers)).json() == {"items": [], "next_cursor": None}
    assert (await client.get(f"/api/v1/keys/{key['id']}", headers=one.headers)).json()["state"] == "active"


@pytest.mark.asyncio
async def test_pages_have_every_key_once(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    ids = [(await made(client, person.headers, name=str(number)))["id"] for number in range(5)]
    found: list[str] = []
    cursor = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/keys", params=params, headers=person.headers)).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ids[::-1]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "cursor", ["x", "W10", "WyIyIiwxXQ", "\N{SNOWMAN}", "W1tbW1tb", "WyIwMDAxLTAxLTAxIiwieCJd", "=="]
)
async def test_a_cursor_of_somebody_elses_making_is_refused(
    client: httpx2.AsyncClient, world: World, cursor: str
) -> None:
    answer = await client.get("/api/v1/keys", params={"cursor": cursor}, headers=world.person().headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-cursor")
