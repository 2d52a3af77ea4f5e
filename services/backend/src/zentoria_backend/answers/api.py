"""``/api/v1/conversations/{conversation_id}/answers``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import redis.exceptions
from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.problems import Problem, Unavailable, answers
from zentoria_schema.core import Message as Row

from zentoria_backend.access.gate import Caller
from zentoria_backend.access.principal import Principal
from zentoria_backend.answers import service, writing
from zentoria_backend.answers.runs import ENDS, Stream
from zentoria_backend.answers.schemas import Begun, NewAnswer
from zentoria_backend.events.credentials import admission_of, over
from zentoria_backend.events.schemas import START, position
from zentoria_backend.events.tickets import Admission
from zentoria_backend.services import Services, ServicesDep

PATH = "/api/v1/conversations/{conversation_id}/answers"
ONE = PATH + "/{answer_id}"
HEAR_SECONDS = 4.0
PING_SECONDS = 15
SLOWEST_SEND = 10.0
RETRY_MILLISECONDS = 500

router = APIRouter(tags=["conversations"])

LastId = Annotated[str | None, Header(description="the last event that was seen", examples=["1700000000000-0"])]
LastIdInUrl = Annotated[
    str | None, Query(alias="last_event_id", description="the same, for clients that cannot send the header")
]


@router.post(PATH, summary="Ask for an answer", status_code=201, responses=answers(404, 409))
async def ask(
    conversation_id: UUID,
    body: NewAnswer,
    principal: Caller,
    services: ServicesDep,
    request: Request,
    response: Response,
) -> Begun:
    """Say something, and get an answer: its events are at ``Location``. It is written while somebody listens."""
    lifecycle: Lifecycle = request.app.state.lifecycle
    if lifecycle.draining.is_set():
        raise Unavailable("backend", "the server stops", retry_after=1)
    question = await service.begin(services, principal, conversation_id, body)
    services.answers.start(writing.write(services, principal, question))
    path = ONE.format(conversation_id=conversation_id, answer_id=question.answer_id)
    response.headers["location"] = f"{path}/events"
    return service.begun(question)


@router.post(ONE + "/cancel", summary="Stop an answer", status_code=204, responses=answers(404))
async def cancel(conversation_id: UUID, answer_id: UUID, principal: Caller, services: ServicesDep) -> Response:
    """Stop writing it; what is there stays. An answer that is whole stays as it is."""
    await service.cancel(services, principal, conversation_id, answer_id)
    return Response(status_code=204)


@router.get(
    ONE + "/events",
    summary="Hear an answer",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "The answer as it is written: `status`, `delta`, `citation`, `dropped`, `proposal`, "
            "`result`, and at last `done` or `error`. Each has an id, with which a stream that broke off goes on.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'event: delta\nid: 1700000000000-0\ndata: {"text":"In "}\n\n',
                }
            },
        },
        **answers(404),
    },
)
async def hear(
    conversation_id: UUID,
    answer_id: UUID,
    request: Request,
    principal: Caller,
    services: ServicesDep,
    last_event_id: LastId = None,
    last_event_id_in_url: LastIdInUrl = None,
) -> EventSourceResponse:
    """Hear an answer from its beginning, or after the event that was seen last (server-sent events)."""
    last = last_event_id or last_event_id_in_url or START
    try:
        position(last)
    except ValueError as error:
        raise Problem(422, f"Last-Event-ID: {error}") from None
    row = await service.answer_row(services, principal, conversation_id, answer_id)
    lifecycle: Lifecycle = request.app.state.lifecycle
    if lifecycle.draining.is_set():
        raise Unavailable("backend", "the server stops", retry_after=1)
    stack = contextlib.ExitStack()
    if not stack.enter_context(services.stream_clients.place(principal.user_id)):
        raise Unavailable("backend", "too many streams are open", retry_after=10)
    held = stack.pop_all()
    stream = services.answers.stream(answer_id)
    admission = admission_of(principal, frozenset(), principal.expires_at or float("inf"))

    async def told() -> AsyncIterator[ServerSentEvent]:
        ended = asyncio.Event()
        ender = asyncio.create_task(_end(ended, lifecycle, services, admission))
        try:
            with held, contextlib.suppress(redis.exceptions.RedisError, OSError, Unavailable):
                async with contextlib.aclosing(_events(services, principal, row, stream, last, ended)) as events:
                    async for event in events:
                        yield event
        finally:
            ender.cancel()

    return EventSourceResponse(
        told(), ping=PING_SECONDS, send_timeout=SLOWEST_SEND, headers={"cache-control": "no-store, no-transform"}
    )


async def _end(ended: asyncio.Event, lifecycle: Lifecycle, services: Services, admission: Admission) -> None:
    """Say when the server stops, or the credential is not good any more: the stream ends with its next read."""
    waiting = {
        asyncio.create_task(lifecycle.draining.wait()),
        asyncio.create_task(over(services.access, admission)),
    }
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        ended.set()
    finally:
        for one in waiting:
            one.cancel()


async def _events(
    services: Services, principal: Principal, row: Row, stream: Stream, last: str, ended: asyncio.Event
) -> AsyncGenerator[ServerSentEvent]:
    """The events after one, up to the last one. What is not in Redis any more is told by the message itself."""
    if row.state != "streaming" and not await stream.after(START, block=False):
        for number, (name, kept) in enumerate(replayed(row), 1):
            yield _event(f"1-{number}", name, kept)
        return
    grace = services.settings.answer_grace
    keeper = asyncio.create_task(_heard(stream, grace))
    try:
        first = True
        while not ended.is_set():
            entries = await stream.after(last, block=not first)
            first = False
            for event_id, name, data in entries:
                last = event_id
                yield ServerSentEvent(data, event=name, id=event_id, retry=RETRY_MILLISECONDS)
                if name in ENDS:
                    return
            if not entries and not await stream.is_alive():
                # whoever wrote it is gone: killed, perhaps; or it has ended just now
                if not await stream.after(last, block=False):
                    await service.settle(services, principal.user_id, row.id)
                if not await stream.after(last, block=False):
                    return
    finally:
        keeper.cancel()
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            await asyncio.shield(stream.hear(grace))


async def _heard(stream: Stream, grace: float) -> None:
    while True:
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            await stream.hear(grace)
        await asyncio.sleep(min(HEAR_SECONDS, grace / 3))


def replayed(row: Row) -> list[tuple[str, dict[str, Any]]]:
    """The events of a message that was written before."""
    events: list[tuple[str, dict[str, Any]]] = []
    if row.content:
        events.append(("delta", {"text": row.content}))
    events += [
        (part["type"], {name: value for name, value in part.items() if name != "type"})
        for part in row.parts
        if part.get("type") in ("citation", "proposal", "result", "dropped")
    ]
    if row.state == "failed":
        events.append(("error", {"title": "", **(row.error or {"type": "about:blank", "status": 500, "detail": ""})}))
        return events
    check: dict[str, Any] = next((dict(part) for part in row.parts if part.get("type") == "check"), {})
    check.pop("type", None)
    usage = {"prompt_tokens": row.tokens_in, "completion_tokens": row.tokens_out}
    done = {"text": row.content, "model": row.model, "usage": usage, "sources": row.sources, **check}
    events.append(("done", done | ({"cancelled": True} if row.state == "cancelled" else {})))
    return events


def _event(event_id: str, name: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, separators=(",", ":"), default=str), event=name, id=event_id)
