"""The engine's client against an engine that streams, stalls, breaks off, and talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zentoria_common.engine import (
    MOST_BYTES_PER_TOKEN,
    ContextTooLong,
    Counted,
    EngineAway,
    EngineBusy,
    EngineClient,
    EngineError,
    EngineRefused,
    EngineStalled,
    ModelMissing,
    estimated,
)

MESSAGES = [{"role": "user", "content": "Say something."}]


class FakeEngine:
    """Answers each request with given bytes, as they come; keeps what was asked and when the asker left."""

    def __init__(self) -> None:
        self.parts: Sequence[bytes | None] = ()
        """Pieces of the answer; None: say nothing more, and stay."""
        self.asked: list[tuple[str, Any]] = []
        self.left = asyncio.Event()
        self.served: set[asyncio.Task[Any] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((int(x.split(":")[1]) for x in head.splitlines() if x.lower().startswith("content-l")), 0)
            body = await reader.readexactly(length)
            self.asked.append((head.split(" ")[1], json.loads(body) if body else None))
            for part in self.parts:
                if part is None:
                    await reader.read()  # ends when the asker goes
                    self.left.set()
                    break
                writer.write(part)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def engine(*parts: bytes | None, **more: Any) -> AsyncGenerator[tuple[FakeEngine, EngineClient]]:
    fake = FakeEngine()
    fake.parts = parts
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    client = EngineClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", **more)
    try:
        yield fake, client
    finally:
        await client.close()
        server.close()
        await asyncio.gather(*(task for task in fake.served if task is not None))


def answer(body: Any, status: str = "200 OK", headers: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps(members).encode() + b"\n\n"


def piece(text: str | None = None, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}])


def usage(prompt: int, completion: int) -> bytes:
    return event(choices=[], usage={"prompt_tokens": prompt, "completion_tokens": completion})


async def said(client: EngineClient, **more: Any) -> list[str]:
    return [delta.text async for delta in client.chat(MESSAGES, "m", **more) if delta.text]


@pytest.mark.asyncio
async def test_an_answer_comes_in_pieces_with_the_engines_own_count() -> None:
    stream = (HEAD, b": ping\n\n", piece("Good"), piece(" morn")[:9], piece(" morn")[9:], piece(None, "stop"))
    async with engine(*stream, usage(12, 3), DONE) as (fake, client):
        deltas = [delta async for delta in client.chat(MESSAGES, "m", max_tokens=5, temperature=0.5)]
    assert "".join(delta.text for delta in deltas) == "Good morn"
    assert [delta.finish for delta in deltas if delta.finish] == ["stop"]
    counted = deltas[-1].usage
    assert counted is not None and (counted.prompt_tokens, counted.completion_tokens) == (12, 3)
    path, body = fake.asked[0]
    assert path == "/v1/chat/completions"
    assert body["stream_options"] == {"include_usage": True}
    assert (body["max_tokens"], body["temperature"], body["messages"]) == (5, 0.5, MESSAGES)


@pytest.mark.asyncio
async def test_who_leaves_ends_the_generation() -> None:
    async with engine(HEAD, piece("one"), None) as (fake, client):
        deltas = client.chat(MESSAGES, "m")
        assert (await anext(deltas)).text == "one"
        await deltas.aclose()
        await asyncio.wait_for(fake.left.wait(), 20)


@pytest.mark.asyncio
async def test_a_task_that_is_cancelled_ends_the_generation() -> None:
    async with engine(HEAD, None) as (fake, client):
        task = asyncio.create_task(said(client))
        while not fake.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(fake.left.wait(), 20)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((HEAD, piece("one"), None), EngineStalled),
        ((HEAD, piece("one")), EngineAway),
        ((HEAD, piece("one"), DONE), EngineAway),
        ((HEAD, b"data: {nonsense\n\n"), EngineAway),
        ((HEAD, b"data: [1]\n\n"), EngineAway),
        ((HEAD, b"data: " + b"[" * 100_000 + b"\n\n"), EngineAway),
        ((HEAD, event(choices=[{"delta": 3}])), EngineAway),
        ((HEAD, event(choices=5)), EngineAway),
        ((HEAD, b"x" * (3 << 20)), EngineAway),
        ((HEAD, piece("one"), event(error={"message": "out of memory", "type": "server_error"})), EngineAway),
        ((HEAD, piece("one"), b'error: {"message": "out of memory", "code": 500}\n\n'), EngineAway),
        ((b"",), EngineAway),
        ((b"SMTP ready\r\n",), EngineAway),
        ((answer({"error": {"message": "no such model", "code": "model_not_found"}}, "404 Not Found"),), ModelMissing),
        ((answer({"error": {"message": "it is being fetched", "code": "model_not_found"}}, "503 x"),), ModelMissing),
        ((answer({"error": 'model "m" not found, try pulling it first'}, "404 Not Found"),), ModelMissing),
        ((answer({"error": {"message": "full", "code": "queue_full"}}, "503 x", "Retry-After: 7\r\n"),), EngineBusy),
        ((answer({"error": {"message": "x", "code": "context_length_exceeded"}}, "400 x"),), ContextTooLong),
        ((answer({"error": {"message": "x", "type": "exceed_context_size_error"}}, "400 x"),), ContextTooLong),
        ((answer({"error": {"message": "messages is missing"}}, "400 x"),), EngineRefused),
        ((answer(b"<html>", "502 Bad Gateway"),), EngineAway),
    ],
)
@pytest.mark.asyncio
async def test_each_fault_has_its_error(parts: tuple[bytes | None, ...], expected: type[EngineError]) -> None:
    async with engine(*parts, stall=0.05) as (_, client):
        with pytest.raises(EngineError) as caught:
            await said(client)
    assert type(caught.value) is expected, caught.value
    if expected is EngineBusy:
        assert caught.value.retry_after == 7


@pytest.mark.asyncio
async def test_an_engine_that_never_begins_is_told_from_one_that_is_not_there() -> None:
    async with engine(None, first=0.05) as (_, client):
        with pytest.raises(EngineStalled):
            await said(client)
        with pytest.raises(EngineStalled):
            await client.models()
    gone = EngineClient("http://127.0.0.1:9/v1")
    with pytest.raises(EngineAway, match="does not answer"):
        await gone.models()
    with pytest.raises(EngineAway, match="does not answer"):
        await said(gone)
    await gone.close()


@pytest.mark.asyncio
async def test_signs_that_keep_a_connection_open_are_no_signs_of_life() -> None:
    async with engine(HEAD, piece("one"), *[b": ping\n\n"] * 50, None, stall=0.1) as (_, client):
        with pytest.raises(EngineStalled):
            await said(client)


@pytest.mark.asyncio
async def test_an_engine_that_cut_the_prompt_is_found_out() -> None:
    stream = (HEAD, piece("x", "stop"), usage(40, 1), DONE)
    async with engine(*stream) as (_, client):
        assert await said(client, counted=Counted(60, 38, exact=True)) == ["x"]
    async with engine(*stream) as (_, client):
        with pytest.raises(ContextTooLong, match="read 40 of 600"):
            await said(client, counted=Counted(600, 580, exact=True))


@pytest.mark.asyncio
async def test_vectors_come_in_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1.5]}]
    async with engine(answer({"data": data})) as (fake, client):
        assert await client.embed(["a", "b"], "e") == [[1.5], [2.0]]
        assert fake.asked == [("/v1/embeddings", {"model": "e", "input": ["a", "b"]})]
        assert await client.embed([], "e") == []
    async with engine(answer({"data": data})) as (_, client):
        with pytest.raises(EngineAway, match="2 vectors for 1"):
            await client.embed(["a"], "e")


@pytest.mark.parametrize("body", [b"nonsense", [], {"data": 3}, {"data": [{}]}, {"data": [{"index": 0}]}])
@pytest.mark.asyncio
async def test_answers_of_another_form_are_no_answers(body: Any) -> None:
    calls: list[Callable[[EngineClient], Awaitable[object]]] = [
        lambda client: client.embed(["a"], "e"),
        lambda client: client.models(),
        lambda client: client.count("m", "text"),
    ]
    for call in calls:
        async with engine(answer(body)) as (_, client):
            with pytest.raises(EngineAway):
                await call(client)


@pytest.mark.asyncio
async def test_models_have_their_state() -> None:
    data = [{"id": "a:latest"}, {"id": "b", "state": "failed", "reason": "its file is broken"}]
    async with engine(answer({"data": data})) as (_, client):
        first, second = await client.models()
    assert (first.id, first.state) == ("a", "ready")
    assert (second.state, second.reason) == ("failed", "its file is broken")


@pytest.mark.asyncio
async def test_tokens_are_counted_by_the_engine_where_it_can() -> None:
    async with engine(answer({"tokens": list(range(30))})) as (fake, client):
        counted = await client.count("m", MESSAGES)
        assert await client.count("m", "text") == counted
    assert [body for _, body in fake.asked] == [{"model": "m", "messages": MESSAGES}, {"model": "m", "content": "text"}]
    assert counted.exact and counted.tokens == 30 and 0 < counted.least < 30


@pytest.mark.asyncio
async def test_tokens_are_estimated_where_it_cannot_and_it_is_asked_once() -> None:
    async with engine(answer(b"404 page not found", "404 Not Found")) as (fake, client):
        counted = await client.count("m", MESSAGES * 3)
        again = await client.count("m", "Grüße " * 100)
        assert len(fake.asked) == 1
    assert not counted.exact and counted.tokens >= 3 * 7
    assert again.tokens >= 300


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_an_estimate_is_more_than_the_least_and_no_more_than_its_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert size // MOST_BYTES_PER_TOKEN <= estimated(text) <= size
