"""Answers: streamed, resumed, stopped, kept, put in order; told by any worker, whichever writes them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from callee_fakes import URLS, Callees
from fastapi import FastAPI
from gateway_kit import Person, World, client_of
from live_gateway import live
from zentoria_backend.answers import service
from zentoria_backend.app import create_app
from zentoria_backend.services import Services, make_services

DONE = {
    "event": "done", "text": "In May.", "model": "small", "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    "refused": False, "unsupported": [], "sources": [{"file_id": "f", "page": 2}],
}  # fmt: skip
CITATION = {
    "event": "citation", "n": 1, "chunk_id": str(uuid.uuid4()), "file_id": str(uuid.uuid4()), "version": 1,
    "sha256": "0" * 64, "filename": "fjords.pdf", "page": 2, "boxes": [], "passage": "thaws in May",
    "start": 0, "end": 7,
}  # fmt: skip
ANSWER = [
    {"event": "status", "text": "searching", "stage": "searching"},
    {"event": "delta", "text": "In "},
    {"event": "delta", "text": "May."},
    CITATION,
    DONE,
]


@dataclasses.dataclass
class Worker:
    """One of the gateway's processes."""

    app: FastAPI
    services: Services
    callees: Callees


def worker(world: World, **changes: Any) -> Worker:
    callees = Callees(world)
    callees.answer = [dict(one) for one in ANSWER]
    settings = world.settings(**URLS, **{"sweep_seconds": 3600.0} | changes)
    services = make_services(settings, world.secrets, identity=world.auth.gateway, transport=callees)
    return Worker(create_app(settings, services, ()), services, callees)


@pytest_asyncio.fixture
async def one(world: World) -> AsyncIterator[Worker]:
    made = worker(world)
    yield made
    async with made.services.answers.run(5):
        pass
    await made.services.close()


async def conversation(client: httpx2.AsyncClient) -> str:
    return str((await client.post("/api/v1/conversations", json={})).json()["id"])


@contextlib.asynccontextmanager
async def client(made: Worker, person: Person) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(made.app) as found:
        found.headers.update(person.headers)
        yield found


async def ask(client: httpx2.AsyncClient, conversation_id: str, **body: Any) -> tuple[str, dict[str, str]]:
    """The path of an answer, and what was said of it."""
    path = f"/api/v1/conversations/{conversation_id}/answers"
    answer = await client.post(path, json={"content": "When do the fjords thaw?"} | body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{path}/{answer.json()['answer_id']}/events"
    return f"{path}/{answer.json()['answer_id']}", answer.json()


async def heard(client: httpx2.AsyncClient, path: str, last: str | None = None) -> list[tuple[str, str, Any]]:
    """All events: id, name, data. Where the test's transport reads whole answers, that ends with the last event."""
    headers = {"Last-Event-ID": last} if last else {}
    async with asyncio.timeout(60):
        answer = await client.get(f"{path}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def parsed(text: str) -> list[tuple[str, str, Any]]:
    events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "event" in fields:
            events.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return events


async def messages(client: httpx2.AsyncClient, conversation_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/api/v1/conversations/{conversation_id}/messages")).json()[
        "items"
    ]
    return found


@pytest.mark.asyncio
async def test_an_answer_is_streamed_and_kept(world: World, one: Worker) -> None:
    async with client(one, world.person()) as ada:
        there = await conversation(ada)
        path, begun = await ask(ada, there)
        events = await heard(ada, path)
        assert [name for _, name, _ in events] == ["status", "delta", "delta", "citation", "done"]
        assert events[-1][2]["text"] == "In May."
        question, answer = await messages(ada, there)
        assert (question["id"], question["role"], question["content"]) == (
            begun["message_id"], "user", "When do the fjords thaw?",
        )  # fmt: skip
        assert (answer["id"], answer["parent_id"], answer["state"]) == (begun["answer_id"], question["id"], "complete")
        assert (answer["content"], answer["model"], answer["sources"]) == ("In May.", "small", DONE["sources"])
        citation = answer["parts"][0]
        assert (citation["type"], citation["page"], citation["passage"]) == ("citation", 2, "thaws in May")
        assert (await ada.get(f"/api/v1/conversations/{there}")).json()["title"] == "When do the fjords thaw?"
        # what was seen is not told again
        assert [name for _, name, _ in await heard(ada, path, events[1][0])] == ["delta", "citation", "done"]
        sent = next(body for host, _, way, body in one.callees.asked if (host, way) == ("ai", "/v1/answers"))
        assert sent["messages"] == [{"role": "user", "content": "When do the fjords thaw?"}]
        # an hour later its events are gone, and the message tells it all the same
        world.redis.ask("DEL", f"backend:answer:{begun['answer_id']}")
        told = await heard(ada, path)
        assert [name for _, name, _ in told] == ["delta", "citation", "done"]
        assert told[0][2]["text"] == "In May."


@pytest.mark.asyncio
async def test_a_conversation_goes_on_is_edited_and_answered_again(world: World, one: Worker) -> None:
    async with client(one, world.person()) as ada:
        there = await conversation(ada)
        await ada.post("/api/v1/memory", json={"text": "I live in Bergen"})
        first, begun = await ask(ada, there)
        await heard(ada, first)
        second, _ = await ask(ada, there, content="And the lakes?")
        await heard(ada, second)
        asked = [body for _, _, way, body in one.callees.asked if way == "/v1/answers"]
        assert [said["content"] for said in asked[1]["messages"]] == [
            "When do the fjords thaw?", "In May.", "And the lakes?",
        ]  # fmt: skip
        assert asked[1]["memory"] == ["I live in Bergen"]
        edited, _ = await ask(ada, there, content="And the rivers?", parent=begun["answer_id"])
        await heard(ada, edited)
        again = await ada.post(f"/api/v1/conversations/{there}/answers", json={"retry_of": begun["answer_id"]})
        assert again.json()["message_id"] == begun["message_id"]
        await heard(ada, f"/api/v1/conversations/{there}/answers/{again.json()['answer_id']}")
        asked = [body for _, _, way, body in one.callees.asked if way == "/v1/answers"]
        assert [said["content"] for said in asked[2]["messages"]][-1] == "And the rivers?"
        assert len(asked[2]["messages"]) == 3
        assert asked[3]["messages"] == asked[0]["messages"]
        parents = [one["parent_id"] for one in await messages(ada, there)]
        assert parents.count(begun["answer_id"]) == 2
        assert parents.count(begun["message_id"]) == 2
        for wrong in ({"retry_of": begun["message_id"]}, {"content": "x", "parent": str(uuid.uuid4())}):
            assert (await ada.post(f"/api/v1/conversations/{there}/answers", json=wrong)).status_code == 404
        for wrong in ({}, {"content": "x", "retry_of": begun["answer_id"]}, {"content": "x", "attachments": "y"}):
            assert (await ada.post(f"/api/v1/conversations/{there}/answers", json=wrong)).status_code == 422


@pytest.mark.asyncio
async def test_another_worker_tells_and_stops_it(world: World, one: Worker) -> None:
    other = worker(world)
    one.callees.hold = asyncio.Event()
    ada = world.person()
    async with client(one, ada) as here, client(other, ada) as there:
        where = await conversation(here)
        path, _ = await ask(here, where)
        hearing = asyncio.create_task(heard(there, path))
        await asyncio.wait_for(_first(one, path), 60)
        assert (await there.post(f"{path}/cancel")).status_code == 204
        events = await hearing
        assert [name for _, name, _ in events] == ["status", "done"]
        assert events[-1][2]["cancelled"] is True
        await asyncio.wait_for(one.callees.left.wait(), 60)  # the model stops, too
        _, answer = await messages(there, where)
        assert (answer["state"], answer["content"]) == ("cancelled", "")
    await other.services.close()


async def _first(made: Worker, path: str) -> None:
    stream = made.services.answers.stream(uuid.UUID(path.rsplit("/", 1)[1]))
    while not await stream.after("0-0", block=False):
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_nobody_listens_and_it_stops_after_a_while(world: World) -> None:
    made = worker(world, answer_grace=0.3)
    made.callees.hold = asyncio.Event()
    async with client(made, world.person()) as ada:
        where = await conversation(ada)
        await ask(ada, where)
        await asyncio.wait_for(made.callees.left.wait(), 60)
        async with made.services.answers.run(30):
            pass
        _, answer = await messages(ada, where)
        assert answer["state"] == "cancelled"
    await made.services.close()


@pytest.mark.asyncio
async def test_who_leaves_can_come_back_over_a_real_connection(world: World) -> None:
    made = worker(world)
    made.callees.hold = asyncio.Event()
    person = world.person()
    with live(made.app) as server:
        async with httpx2.AsyncClient(base_url=server.url, headers=person.headers, timeout=60) as ada:
            path, _ = await ask(ada, await conversation(ada))
            async with ada.stream("GET", f"{path}/events") as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        last = line.removeprefix("id: ")
                        break
            assert made.callees.loop is not None
            made.callees.loop.call_soon_threadsafe(made.callees.hold.set)
            events = await heard(ada, path, last)
    assert [name for _, name, _ in events] == ["delta", "delta", "citation", "done"]


@pytest.mark.asyncio
async def test_an_answer_whose_writer_was_killed_is_put_in_order(world: World, one: Worker) -> None:
    person = world.person()
    async with client(one, person) as ada:
        where = await conversation(ada)
        principal = await _principal(one, person)
        question = await service.begin(
            one.services, principal, uuid.UUID(where), service.NewAnswer(content="When do the fjords thaw?")
        )
        stream = one.services.answers.stream(question.answer_id)
        await stream.add("delta", {"text": "In "})
        await stream.over()  # the process that wrote it is gone
        path = f"/api/v1/conversations/{where}/answers/{question.answer_id}"
        events = await heard(ada, path)
        assert [name for _, name, _ in events] == ["delta", "error"]
        assert events[-1][2]["type"] == "/problems/answer-interrupted"
        _, answer = await messages(ada, where)
        assert (answer["state"], answer["content"], answer["error"]["type"]) == (
            "failed", "In ", "/problems/answer-interrupted",
        )  # fmt: skip


async def _principal(made: Worker, person: Person) -> Any:
    from zentoria_backend.access.principal import Principal

    scopes = frozenset({"chat:read", "chat:write"})
    return Principal(person.id, person.role, scopes, "session", person.sid, sid=person.sid)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("events", "kind", "status"),
    [
        ([{"event": "error", "type": "/problems/model-missing", "status": 503, "detail": "it is fetched"}],
         "/problems/model-missing", 503),
        ([ANSWER[1]], "/problems/service-missing", 503),
    ],
)  # fmt: skip
async def test_what_fails_says_so(world: World, one: Worker, events: list[Any], kind: str, status: int) -> None:
    one.callees.answer = events
    async with client(one, world.person()) as ada:
        where = await conversation(ada)
        path, _ = await ask(ada, where)
        told = await heard(ada, path)
        assert (told[-1][1], told[-1][2]["type"], told[-1][2]["status"]) == ("error", kind, status)
        _, answer = await messages(ada, where)
        assert (answer["state"], answer["error"]["type"]) == ("failed", kind)
    one.callees.away = {"ai"}


@pytest.mark.asyncio
async def test_others_hear_nothing_and_too_many_are_refused(world: World, one: Worker) -> None:
    one.callees.hold = asyncio.Event()
    async with client(one, world.person()) as ada, client(one, world.person()) as eve:
        where = await conversation(ada)
        path, _ = await ask(ada, where)
        for method, way in (("GET", f"{path}/events"), ("POST", f"{path}/cancel")):
            assert (await eve.request(method, way)).status_code == 404
        for _ in range(service.MOST_RUNNING - 1):
            await ask(ada, where)
        refused = await ada.post(f"/api/v1/conversations/{where}/answers", json={"content": "x"})
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-answers")
        one.callees.hold.set()


@pytest.mark.asyncio
async def test_a_command_in_a_conversation_becomes_a_proposal(world: World, one: Worker) -> None:
    person = world.person()
    one.callees.plan = {
        "intent": "apikey.create", "confidence": 0.9, "say": "I would make a key.",
        "calls": [{"tool": "keys_create", "arguments": {"name": "backup", "scopes": ["files:read"]}}],
    }  # fmt: skip
    async with client(one, person) as ada:
        where = await conversation(ada)
        path, _ = await ask(ada, where, content="Make a key called backup that reads files")
        events = await heard(ada, path)
        assert [name for _, name, _ in events] == ["proposal", "delta", "done"]
        approval = events[0][2]["approval"]
        assert (approval["tool"], approval["state"], approval["carrier"]) == ("keys_create", "pending", "gateway")
        _, answer = await messages(ada, where)
        assert answer["parts"][0]["type"] == "proposal"
        assert (await ada.get("/api/v1/keys")).json()["items"] == []
