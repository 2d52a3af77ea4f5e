"""Conversations: kept, paged, searched, exported, deleted; each user's own."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx2
import pytest
from gateway_kit import Person, World

PATH = "/api/v1/conversations"


@pytest.fixture
def ada(world: World) -> Person:
    return world.person()


async def begun(client: httpx2.AsyncClient, person: Person, title: str = "", *said: str) -> str:
    answer = await client.post(PATH, json={"title": title}, headers=person.headers)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    for content in said:
        added = await client.post(f"{PATH}/{made['id']}/messages", json={"content": content}, headers=person.headers)
        assert added.status_code == 201, added.text
    return str(made["id"])


async def pages(client: httpx2.AsyncClient, url: str, person: Person, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = await client.get(httpx2.URL(url).copy_merge_params(params), headers=person.headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = page["next_cursor"]


@pytest.mark.asyncio
async def test_a_conversation_from_begin_to_end(client: httpx2.AsyncClient, world: World, ada: Person) -> None:
    one = await begun(client, ada, "Fjords", "Where are they?", "And when?")
    got = await client.get(f"{PATH}/{one}", headers=ada.headers)
    assert {name: got.json()[name] for name in ("title", "model", "archived", "revision")} == {
        "title": "Fjords", "model": None, "archived": False, "revision": 3,
    }  # fmt: skip
    assert got.headers["etag"] == '"3"'
    said = await pages(client, f"{PATH}/{one}/messages", ada, 1)
    assert [(each["number"], each["role"], each["content"]) for each in said] == [
        (1, "user", "Where are they?"),
        (2, "user", "And when?"),
    ]
    before = world.last_audit()
    assert (await client.delete(f"{PATH}/{one}", headers=ada.headers)).status_code == 204
    assert (await client.get(f"{PATH}/{one}", headers=ada.headers)).status_code == 404
    assert world.admin.execute("select count(*) from messages where conversation_id = %s", [one]).fetchone() == (0,)
    (row,) = world.audit(after=before)
    assert (row["action"], row["resource_id"], row["user_id"]) == ("conversations.delete", one, ada.id)


@pytest.mark.asyncio
async def test_changes_and_their_etags(client: httpx2.AsyncClient, ada: Person) -> None:
    one = await begun(client, ada, "Before")

    async def change(body: dict[str, Any], **headers: str) -> httpx2.Response:
        return await client.patch(f"{PATH}/{one}", json=body, headers=ada.headers | headers)

    first = await change({"title": "After"}, **{"If-Match": '"1"'})
    assert (first.status_code, first.json()["title"], first.headers["etag"]) == (200, "After", '"2"')
    late = await change({"title": "Late"}, **{"If-Match": '"1"'})
    assert (late.status_code, late.json()["type"]) == (412, "/problems/changed-meanwhile")
    assert (await change({"title": "Odd"}, **{"If-Match": 'W/"x"'})).status_code == 412
    assert (await change({"archived": True}, **{"If-Match": "*"})).json()["archived"] is True
    assert [each["id"] for each in await pages(client, PATH + "?archived=true", ada, 10)] == [one]
    assert await pages(client, PATH, ada, 10) == []
    assert (await change({"archived": False})).json() | {"updated_at": ""} == {
        **first.json(), "revision": 4, "updated_at": "",
    }  # fmt: skip


@pytest.mark.asyncio
async def test_lists_come_in_pages_what_changed_last_first(client: httpx2.AsyncClient, ada: Person) -> None:
    ids = [await begun(client, ada, f"n{n}") for n in range(5)]
    assert [each["id"] for each in await pages(client, PATH, ada, 2)] == ids[::-1]
    await client.post(f"{PATH}/{ids[1]}/messages", json={"content": "again"}, headers=ada.headers)
    assert (await pages(client, PATH, ada, 3))[0]["id"] == ids[1]


@pytest.mark.asyncio
async def test_another_users_conversation_is_not_there(client: httpx2.AsyncClient, world: World, ada: Person) -> None:
    theirs = await begun(client, world.person("member"), "secret plans", "about narwhals")
    for method, url, body in (
        ("GET", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("POST", "/messages", {"content": "hello"}),
        ("GET", "/export", None),
        ("GET", "/export?format=markdown", None),
    ):
        answer = await client.request(method, f"{PATH}/{theirs}{url}", json=body, headers=ada.headers)
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such conversation"), (method, url)
    assert (await client.get(PATH + "/search?q=narwhals", headers=ada.headers)).json()["items"] == []
    assert await pages(client, PATH, ada, 10) == []


@pytest.mark.asyncio
async def test_search_finds_words_phrases_and_not_more(client: httpx2.AsyncClient, ada: Person) -> None:
    one = await begun(client, ada, "Sea", "Whales sing below the ice.", "The ice is thin; whales breathe.", "Fish.")

    async def found(query: str) -> list[int]:
        answer = await client.get(PATH + "/search", params={"q": query}, headers=ada.headers)
        assert answer.status_code == 200, answer.text
        assert all(each["conversation_id"] == one and each["title"] == "Sea" for each in answer.json()["items"])
        return sorted(each["number"] for each in answer.json()["items"])

    assert await found("whales ice") == [1, 2]
    assert await found('"below the ice"') == [1]
    assert await found("ice -thin") == [1]
    assert await found("fish or sing") == [1, 3]
    for nothing in ("dolphin", "!!!", "'", "%", "\\", ":*", "🐋"):
        assert await found(nothing) == []
    hits = await pages(client, PATH + "/search?q=whales", ada, 1)
    assert ["thin" in each["excerpt"] for each in hits] == [True, False]  # the newest first


@pytest.mark.asyncio
async def test_export_has_everything(client: httpx2.AsyncClient, ada: Person, world: World) -> None:
    one = await begun(client, ada, "Long")
    count = 450  # more than two of its pages
    world.admin.execute(
        "insert into messages (conversation_id, user_id, number, role, content)"
        " select %s, %s, n, case n %% 2 when 1 then 'user' else 'assistant' end, 'Satz \"' || n || '\" ü'"
        " from generate_series(1, %s) n",
        [one, ada.id, count],
    )
    answer = await client.get(f"{PATH}/{one}/export", headers=ada.headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == f'attachment; filename="conversation-{one}.json"'
    whole = json.loads(answer.text)
    assert whole["conversation"]["id"] == one
    assert [each["content"] for each in whole["messages"]] == [f'Satz "{n}" ü' for n in range(1, count + 1)]
    text = await client.get(f"{PATH}/{one}/export?format=markdown", headers=ada.headers)
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# Long\n") and text.text.count("\n## ") == count


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", "", {"title": "x" * 201}),
        ("POST", "", {"title": "nul\0"}),
        ("POST", "", {"title": "two\nlines"}),
        ("POST", "", {"title": 7}),
        ("POST", "", {"owner": 1}),
        ("POST", "", []),
        ("POST", "/{id}/messages", {"content": ""}),
        ("POST", "/{id}/messages", {"content": "x" * 100_001}),
        ("POST", "/{id}/messages", {"content": "nul\0"}),
        ("POST", "/{id}/messages", {"content": "x", "role": "assistant"}),
        ("GET", "?cursor=nonsense", None),
        ("GET", "?limit=0", None),
        ("GET", "?limit=201", None),
        ("GET", "/{id}/messages?cursor=WyJ4Il0", None),
        ("GET", "/search", None),
        ("GET", "/search?q=", None),
        ("GET", "/search?q=%00", None),
        ("GET", "/search?q=" + "x" * 201, None),
        ("GET", "/{id}/export?format=exe", None),
        ("GET", "/1", None),
        ("GET", "/%2e%2e", None),
    ],
)
async def test_bad_input_is_refused_with_a_reason(
    client: httpx2.AsyncClient, ada: Person, method: str, url: str, body: Any
) -> None:
    one = await begun(client, ada)
    answer = await client.request(method, PATH + url.format(id=one), json=body, headers=ada.headers)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text


@pytest.mark.asyncio
async def test_scopes(client: httpx2.AsyncClient, world: World, ada: Person) -> None:
    one = await begun(client, ada)
    reader = {"X-API-Key": world.key(ada.id, "chat:read")}
    assert (await client.get(PATH, headers=reader)).status_code == 200
    refused = await client.post(f"{PATH}/{one}/messages", json={"content": "hi"}, headers=reader)
    assert (refused.status_code, refused.json()["scope"]) == (403, "chat:write")
    other = {"X-API-Key": world.key(ada.id, "files:read")}
    assert (await client.get(f"{PATH}/{one}", headers=other)).status_code == 403
    assert (await client.get(f"{PATH}/{uuid.uuid4()}", headers=reader)).status_code == 404


@pytest.mark.asyncio
async def test_messages_that_come_at_once_get_numbers_of_their_own(client: httpx2.AsyncClient, ada: Person) -> None:
    one = await begun(client, ada)
    send = [client.post(f"{PATH}/{one}/messages", json={"content": f"m{n}"}, headers=ada.headers) for n in range(12)]
    assert {answer.status_code for answer in await asyncio.gather(*send)} == {201}
    assert [each["number"] for each in await pages(client, f"{PATH}/{one}/messages", ada, 5)] == list(range(1, 13))
