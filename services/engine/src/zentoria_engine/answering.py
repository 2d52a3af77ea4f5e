"""Answers that end when the asker leaves: the wait for a turn, and the generation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import httpx2
import structlog
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from zentoria_engine.counted import EngineMetrics
from zentoria_engine.errors import EngineError, failed
from zentoria_engine.models import Held

_log = structlog.stdlib.get_logger("zentoria_engine.answering")
_EVENTS = "text/event-stream"


class WhileThere(Response):
    """Does something as long as the asker is there, and answers with what comes of it.

    Args:
        work: makes the answer. It is cancelled when the asker leaves.
        gone: told that the asker left.
    """

    def __init__(self, work: Callable[[Send], Awaitable[None]], gone: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._work, self._gone = work, gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = whole = False

        async def sending(message: Any) -> None:
            nonlocal begun, whole
            begun = begun or message["type"] == "http.response.start"
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def working() -> None:
            try:
                await self._work(sending)
            except EngineError as error:
                if begun:
                    raise
                await error.response()(scope, receive, sending)

        work = asyncio.ensure_future(working())
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if whole:
                # An answer that is whole looks, to who waits for the asker to leave, as if that had happened.
                await asyncio.wait({work})
            elif not work.done():
                self._gone()
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.wait({work, leaving})
        if not work.cancelled() and (error := work.exception()):
            raise error


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def chat(held: Held, path: str, body: Mapping[str, Any], metrics: EngineMetrics) -> Response:
    """The answer of a model to one question, passed on as its process gives it.

    Args:
        held: the model.
        path: of its process's server.
        body: the question.
        metrics: told of tokens and time.
    """
    name = held.spec.name
    begun = time.monotonic()

    async def work(send: Send) -> None:
        try:
            async with held.used(str(body.get("user") or "")), _asked(held, path, body) as answer:
                kind = answer.headers.get("content-type", "application/json")
                if answer.status_code != 200:
                    await answer.aread()
                    raise _refusal(answer, held)
                if not kind.startswith(_EVENTS):
                    content = await _whole(answer, held)
                    metrics.first(name, time.monotonic() - begun)
                    _count(content, name, metrics)
                    await _send(send, kind, content)
                else:
                    await _stream(answer, held, send, lambda: metrics.first(name, time.monotonic() - begun), metrics)
        except EngineError as error:
            metrics.refused(name, error.code)
            raise

    return WhileThere(work, lambda: metrics.left(name))


@contextlib.asynccontextmanager
async def _asked(held: Held, path: str, body: Mapping[str, Any]) -> AsyncGenerator[httpx2.Response]:
    http = held.runner.http
    try:
        answer = await http.send(http.build_request("POST", path, json=body), stream=True)
    except httpx2.HTTPError:
        raise failed(f"the model {held.spec.name} gave no answer: {await held.runner.why()}") from None
    try:
        yield answer
    finally:
        await answer.aclose()  # llama.cpp sees that, and stops


async def _whole(answer: httpx2.Response, held: Held) -> bytes:
    try:
        return await answer.aread()
    except httpx2.HTTPError:
        raise failed(f"the model {held.spec.name} gave half an answer: {await held.runner.why()}") from None


async def _send(send: Send, kind: str, content: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _stream(
    answer: httpx2.Response, held: Held, send: Send, first: Callable[[], None], metrics: EngineMetrics
) -> None:
    headers = [(b"content-type", _EVENTS.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    rest, waiting = b"", True
    try:
        async for chunk in answer.aiter_bytes():
            if waiting and b"data:" in chunk:
                waiting = False
                first()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data:") and b'"usage"' in line:
                    _count(line[5:], held.spec.name, metrics)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx2.HTTPError:
        error = failed(f"the model {held.spec.name} broke off: {await held.runner.why()}")
        metrics.refused(held.spec.name, error.code)
        _log.error("a model broke off", model=held.spec.name, reason=error.message)
        said = f"\n\ndata: {json.dumps(error.body())}\n\n".encode()
        await send({"type": "http.response.body", "body": said, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _count(content: bytes, model: str, metrics: EngineMetrics) -> None:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        usage = json.loads(content)["usage"]
        metrics.tokens(model, int(usage["prompt_tokens"]), int(usage["completion_tokens"]))


def _refusal(answer: httpx2.Response, held: Held) -> EngineError:
    """What llama.cpp refused, in the words of these routes."""
    try:
        found = answer.json()["error"]
        text, kind = str(found["message"]), str(found.get("type", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        text, kind = f"the model's process answered {answer.status_code}", ""
    if kind == "exceed_context_size_error":
        tokens = found.get("n_prompt_tokens", "more")
        text = f"this has {tokens} tokens, and the model {held.spec.name} takes {held.spec.context} with its answer: "
        text += "nothing was cut, nothing done"
        return EngineError(400, "context_length_exceeded", text, param="messages")
    if answer.status_code < 500:
        return EngineError(400, "invalid_request", text)
    return failed(f"the model {held.spec.name} failed: {text}")


def json_answer(work: Callable[[], Awaitable[Mapping[str, Any]]]) -> Response:
    """The JSON that something gives, as long as the asker is there."""

    async def sending(send: Send) -> None:
        content = JSONResponse(dict(await work())).body
        await _send(send, "application/json", bytes(content))

    return WhileThere(sending)
