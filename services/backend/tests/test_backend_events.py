"""Events as clients get them: a WebSocket and server-sent events of a real server, with a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import redis.asyncio
from gateway_kit import PUBLIC_URL, Person, World
from hypothesis import given, settings
from hypothesis import strategies as st
from live_gateway import Live, live
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from zentoria_backend.events import credentials, publish, socket, streams
from zentoria_backend.events.clients import Clients
from zentoria_backend.events.schemas import TOPICS, allowed, position


@pytest.fixture(scope="module")
def gateway(world: World) -> Iterator[Live]:
    with live(world.app(public_url=PUBLIC_URL, cors_origins=["https://other.test"])) as server:
        yield server


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis_client(world) as made:
        yield made


def redis_client(world: World) -> redis.asyncio.Redis:
    password = world.redis.password("backend")
    return redis.asyncio.Redis(port=world.redis.port, username="backend", password=password, decode_responses=True)


@pytest.fixture
def ada(world: World) -> Person:
    return world.person()


async def ticket(gateway: Live, person: Person, *topics: str) -> str:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        body = {"topics": list(topics)} if topics else {}
        answer = await http.post("/api/v1/tickets", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["url"] == f"/ws?ticket={answer.json()['ticket']}"
    return str(answer.json()["ticket"])


@contextlib.asynccontextmanager
async def listening(
    gateway: Live, person: Person, *topics: str, last: str = "", **options: Any
) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    url = f"ws://127.0.0.1:{gateway.port}/ws?ticket={await ticket(gateway, person, *topics)}"
    async with connect(url + (f"&last_event_id={last}" if last else ""), **options) as websocket:
        yield websocket, await message(websocket)


async def message(websocket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(websocket.recv(), 30)))


async def refused(gateway: Live, query: str, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{gateway.port}/ws?{query}", **options):
            pass
    answer = caught.value.response
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, json.loads(answer.body)


# --- the WebSocket


@pytest.mark.asyncio
async def test_a_user_hears_of_what_is_its_own(
    gateway: Live, client: redis.asyncio.Redis, world: World, ada: Person
) -> None:
    other = world.person("member")
    async with listening(gateway, ada) as (websocket, hello):
        assert hello == {"type": "hello", "last_event_id": "0-0", "topics": sorted(TOPICS), "missing": False}
        await publish(client, other.id, "jobs", {"id": "theirs"})
        sent = await publish(client, ada.id, "jobs", {"id": "mine", "text": 'ä "quoted" </script>'})
        got = await message(websocket)
    assert got["data"] == {"id": "mine", "text": 'ä "quoted" </script>'}
    assert (got["type"], got["id"], got["topic"]) == ("event", sent, "jobs")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", got["time"])


@pytest.mark.asyncio
async def test_only_topics_that_were_asked_for_and_that_the_scopes_allow(
    gateway: Live, client: redis.asyncio.Redis, world: World, ada: Person
) -> None:
    key = world.key(ada.id, "files:read", "chat:read")
    limited = Person(ada.id, ada.role, ada.sid, key)
    async with listening(gateway, limited, "files", "jobs") as (websocket, hello):
        assert hello["topics"] == ["files"]
        for topic in ("jobs", "conversations", "files"):
            await publish(client, ada.id, topic, {"topic": topic})
        assert (await message(websocket))["data"] == {"topic": "files"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=limited.headers) as http:
        assert (await http.post("/api/v1/tickets", json={"topics": ["jobs"]})).status_code == 403
        assert (await http.get("/api/v1/events?topics=jobs")).status_code == 403


@pytest.mark.asyncio
async def test_after_a_drop_a_client_goes_on_where_it_was(
    gateway: Live, client: redis.asyncio.Redis, ada: Person
) -> None:
    async with listening(gateway, ada) as (websocket, _):
        await publish(client, ada.id, "jobs", {"n": 1})
        last = (await message(websocket))["id"]
    # more than one page of the stream, and more than a listener's queue
    for n in range(2, 252):
        await publish(client, ada.id, "jobs", {"n": n})
    async with listening(gateway, ada, last=last) as (websocket, hello):
        assert (hello["missing"], hello["last_event_id"]) == (False, last)
        assert [(await message(websocket))["data"]["n"] for _ in range(250)] == list(range(2, 252))
        await publish(client, ada.id, "jobs", {"n": "live"})
        assert (await message(websocket))["data"] == {"n": "live"}


@pytest.mark.asyncio
@pytest.mark.parametrize("last", ["1-0", "99999999999999-0"])
async def test_a_client_is_told_when_events_are_gone(
    gateway: Live, client: redis.asyncio.Redis, ada: Person, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEPT", 5)  # Redis cuts at its own convenience, after some hundred
    for n in range(400):
        await publish(client, ada.id, "jobs", {"n": n})
    async with listening(gateway, ada, last=last) as (websocket, hello):
        assert hello["missing"] is True
        newest = await publish(client, ada.id, "jobs", {"n": "new"})
        assert (await message(websocket))["id"] == newest


@pytest.mark.asyncio
async def test_a_ticket_opens_one_websocket_once(gateway: Live, ada: Person) -> None:
    one = await ticket(gateway, ada)
    async with connect(f"ws://127.0.0.1:{gateway.port}/ws?ticket={one}") as websocket:
        await message(websocket)
        status, body = await refused(gateway, f"ticket={one}")
    assert (status, body["status"]) == (401, 401)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "options", "status"),
    [
        ("", {}, 401),
        ("ticket=", {}, 401),
        ("ticket=" + "A" * 43, {}, 401),
        ("ticket=%00%ff", {}, 401),
        ("ticket=" + "ä" * 43, {}, 401),
        ("ticket=" + "A" * 43 + "&last_event_id=yesterday", {}, 422),
        ("ticket=" + "A" * 43 + "&last_event_id=18446744073709551616-0", {}, 422),
        ("ticket=" + "A" * 43, {"origin": "https://evil.test"}, 403),
        ("ticket=" + "A" * 43, {"origin": f"{PUBLIC_URL}.evil.test"}, 403),
        ("ticket=" + "A" * 43, {"origin": "null"}, 403),
        ("ticket=" + "A" * 43, {"origin": PUBLIC_URL}, 401),
        ("ticket=" + "A" * 43, {"origin": "https://other.test"}, 401),
    ],
)
async def test_who_may_not_come_in_sees_no_websocket(
    gateway: Live, query: str, options: dict[str, Any], status: int
) -> None:
    assert (await refused(gateway, query, **options))[0] == status


@pytest.mark.asyncio
async def test_a_foreign_page_does_not_use_up_a_ticket(gateway: Live, ada: Person) -> None:
    one = await ticket(gateway, ada)
    assert (await refused(gateway, f"ticket={one}", origin="https://evil.test"))[0] == 403
    async with connect(f"ws://127.0.0.1:{gateway.port}/ws?ticket={one}", origin=PUBLIC_URL) as websocket:
        assert (await message(websocket))["type"] == "hello"


@pytest.mark.asyncio
async def test_tickets_stand_in_no_log(gateway: Live, ada: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)  # what uvicorn may say at most: see zentoria_common.logs
    one = await ticket(gateway, ada)
    for _ in range(2):
        with contextlib.suppress(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{gateway.port}/ws?ticket={one}"):
                pass
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    assert any("WebSocket" in record.getMessage() for record in ours)
    assert not [record for record in ours if one in record.getMessage()]


@pytest.mark.asyncio
@pytest.mark.parametrize("said", ["", "hello", "{}", '{"type":"ping","id":"' + "x" * 65 + '"}', b"\x00", "[" * 5000])
async def test_whoever_says_anything_but_ping_is_shut_out(gateway: Live, ada: Person, said: str | bytes) -> None:
    async with listening(gateway, ada) as (websocket, _):
        await websocket.send('{"type":"ping","id":7}')
        assert await message(websocket) == {"type": "pong", "id": 7}
        await websocket.send('{"type":"ping"}')
        assert await message(websocket) == {"type": "pong"}
        await websocket.send(said)
        with pytest.raises(ConnectionClosed) as caught:
            await message(websocket)
    assert caught.value.rcvd is not None and caught.value.rcvd.code == socket.POLICY_VIOLATION


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_dropped_and_misses_nothing(
    gateway: Live, client: redis.asyncio.Redis, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "SLOWEST_SEND", 0.5)
    monkeypatch.setattr(socket, "LAST_WORD", 30)
    large = "x" * 30_000
    async with listening(gateway, ada, max_queue=1, compression=None, ping_interval=None) as (websocket, _):
        count, sent, last = 0, 700, ""
        for n in range(1, sent + 1):  # more than the sockets' buffers hold
            await publish(client, ada.id, "jobs", {"n": n, "text": large})
        async with asyncio.timeout(60):
            while gateway.app.state.services.hub.listeners(ada.id):
                await asyncio.sleep(0.02)
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                got = await message(websocket)
                count += 1
                assert got["data"]["n"] == count
                last = got["id"]
    assert caught.value.rcvd is not None and caught.value.rcvd.code == socket.TOO_SLOW
    assert 0 < count < sent
    async with listening(gateway, ada, last=last) as (websocket, _):
        for n in range(count + 1, sent + 1):
            assert (await message(websocket))["data"]["n"] == n


@pytest.mark.asyncio
async def test_a_websocket_ends_with_its_credential(gateway: Live, ada: Person, client: redis.asyncio.Redis) -> None:
    one = await ticket(gateway, ada)
    async for name in client.scan_iter("backend:ticket:*"):
        kept = json.loads(await client.get(name) or "{}")
        if kept.get("user") == ada.id:
            await client.set(name, json.dumps(kept | {"until": time.time() + 0.5}), ex=30)
    async with connect(f"ws://127.0.0.1:{gateway.port}/ws?ticket={one}") as websocket:
        assert (await message(websocket))["type"] == "hello"
        with pytest.raises(ConnectionClosed) as caught:
            await message(websocket)
    assert caught.value.rcvd is not None and caught.value.rcvd.code == socket.TIME_IS_OVER


@pytest.mark.asyncio
async def test_there_is_room_for_so_many(world: World, ada: Person) -> None:
    with live(world.app(max_websocket_clients=2)) as gateway:
        async with listening(gateway, ada), listening(gateway, ada):
            assert (await refused(gateway, f"ticket={await ticket(gateway, ada)}"))[0] == 503
            async with httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as http:
                answer = await http.get("/api/v1/events")
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "zentoria_websocket_clients 0.0" in httpx2.get(f"{gateway.url}/metrics").text


def test_one_user_does_not_take_every_place() -> None:
    clients = Clients(1000)
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(clients.place(1)) for _ in range(70)]
        assert taken.count(True) == 64
        assert stack.enter_context(clients.place(2))
    assert clients.count == 0


@pytest.mark.asyncio
async def test_a_server_that_stops_says_so(world: World, ada: Person) -> None:
    with live(world.app()) as gateway:
        async with listening(gateway, ada) as (websocket, _), streaming(gateway, ada) as stream:
            await anext(stream)
            gateway.tell_to_stop()
            with pytest.raises(ConnectionClosed) as caught:
                await message(websocket)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
    assert caught.value.rcvd is not None and caught.value.rcvd.code == socket.GOING_AWAY


@pytest.mark.asyncio
async def test_while_redis_is_away_listeners_wait(world: World, ada: Person) -> None:
    with live(world.app()) as gateway:
        async with listening(gateway, ada) as (websocket, _), streaming(gateway, ada) as stream:
            await anext(stream)
            world.redis.stop()
            async with httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers, timeout=30) as http:
                for answer in (await http.post("/api/v1/tickets", json={}), await http.get("/api/v1/events")):
                    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            assert (await refused(gateway, "ticket=" + "A" * 43))[0] == 503
            services = gateway.app.state.services
            assert await publish(services.redis, ada.id, "jobs", {}) is None  # never fails its caller
            world.redis.start()
            async with redis_client(world) as client:
                await publish(client, ada.id, "jobs", {"back": True})
            assert (await message(websocket))["data"] == {"back": True}
            assert json.loads((await anext(stream))["data"])["data"] == {"back": True}


# --- server-sent events


@contextlib.asynccontextmanager
async def streaming(
    gateway: Live, person: Person, query: str = "", **headers: str
) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    async with (
        httpx2.AsyncClient(base_url=gateway.url, timeout=30) as http,
        http.stream("GET", f"/api/v1/events{query}", headers=person.headers | headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        assert "no-transform" in answer.headers["cache-control"]

        async def events() -> AsyncIterator[dict[str, str]]:
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and fields:
                    yield fields
                    fields = {}

        yield events()


@pytest.mark.asyncio
async def test_server_sent_events_are_the_same(
    gateway: Live, client: redis.asyncio.Redis, world: World, ada: Person
) -> None:
    other = world.person("member")
    async with streaming(gateway, ada, "?topics=jobs&topics=files") as events:
        hello = await anext(events)
        assert (hello["event"], hello["id"]) == ("hello", "0-0")
        assert json.loads(hello["data"]) == {"last_event_id": "0-0", "topics": ["files", "jobs"], "missing": False}
        await publish(client, other.id, "jobs", {"n": 0})
        await publish(client, ada.id, "conversations", {"n": 0})
        first = await publish(client, ada.id, "jobs", {"n": 1})
        got = await anext(events)
        assert (got["event"], got["id"], json.loads(got["data"])["data"]) == ("jobs", first, {"n": 1})
    for n in (2, 3):
        await publish(client, ada.id, "files", {"n": n})
    for query, headers in (("", {"Last-Event-ID": first or ""}), (f"?last_event_id={first}", {})):
        async with streaming(gateway, ada, query, **headers) as events:
            assert (await anext(events))["event"] == "hello"
            assert [json.loads((await anext(events))["data"])["data"]["n"] for _ in range(2)] == [2, 3]


@pytest.mark.asyncio
async def test_no_stream_without_a_credential_or_with_a_bad_id(gateway: Live, ada: Person) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        assert (await http.get("/api/v1/events")).status_code == 401
        assert (await http.post("/api/v1/tickets", json={})).status_code == 401
        bad = await http.get("/api/v1/events", headers={**ada.headers, "Last-Event-ID": "latest"})
        assert (bad.status_code, bad.json()["detail"].split(":")[0]) == (422, "Last-Event-ID")
        assert (await http.get("/api/v1/events?topics=secrets", headers=ada.headers)).status_code == 422


@pytest.mark.asyncio
async def test_clients_that_leave_are_forgotten(gateway: Live, ada: Person) -> None:
    services = gateway.app.state.services
    for _ in range(3):
        async with streaming(gateway, ada) as events, listening(gateway, ada):
            await anext(events)
            assert services.hub.listeners(ada.id) == 2
    async with asyncio.timeout(30):
        while services.hub.listeners(ada.id) or services.stream_clients.count:
            await asyncio.sleep(0.02)


# --- what is pure


@settings(max_examples=50)
@given(st.text() | st.from_regex(r"\d{1,22}-\d{1,22}"))
def test_an_id_is_two_numbers(text: str) -> None:
    try:
        numbers = position(text)
    except ValueError:
        return
    assert all(0 <= number < 2**64 for number in numbers)


def test_topics_go_by_scope() -> None:
    assert allowed(TOPICS, ["jobs:read", "chat:read"]) == {"jobs", "conversations"}
    assert allowed(["files"], ["jobs:read"]) == frozenset()


@pytest.mark.asyncio
async def test_what_cannot_be_published(client: redis.asyncio.Redis) -> None:
    with pytest.raises(ValueError, match="at most 32768"):
        await publish(client, 1, "jobs", {"text": "x" * 40_000})
    with pytest.raises(ValueError, match="none of the topics"):
        await publish(client, 1, "secrets", {})  # type: ignore[arg-type] # no topic, on purpose


# --- a credential that is taken back


def _take_back(world: World, person: Person, how: str) -> None:
    statements = {
        "key": "update api_keys set revoked_at = now() where user_id = %s",
        "session": "update sessions set ended_at = now() where user_id = %s",
        "user": "update users set disabled_at = now() where id = %s",
    }
    world.admin.execute(statements[how], [person.id])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "how"), [("key", "key"), ("key", "user"), ("session", "session"), ("session", "user")]
)
async def test_what_is_open_ends_when_its_credential_is_taken_back(
    gateway: Live, world: World, monkeypatch: pytest.MonkeyPatch, kind: str, how: str
) -> None:
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.2)
    ada, other = world.person(), world.person()
    if kind == "key":
        ada = Person(ada.id, ada.role, ada.sid, world.key(ada.id, "files:read"))
    async with (
        listening(gateway, other) as (stays, _),
        listening(gateway, ada) as (websocket, _),
        httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers, timeout=30) as http,
        http.stream("GET", "/api/v1/events") as answer,
    ):
        assert answer.status_code == 200
        _take_back(world, ada, how)
        with pytest.raises(ConnectionClosed) as caught:
            await asyncio.wait_for(websocket.recv(), 30)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == socket.TIME_IS_OVER
        async with asyncio.timeout(30):
            async for _ in answer.aiter_raw():
                pass  # it comes to its end
        await stays.send('{"type": "ping"}')
        assert await message(stays) == {"type": "pong"}
