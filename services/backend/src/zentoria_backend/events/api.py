"""``/api/v1/events``: the same events as server-sent events. ``/api/v1/tickets``: a ticket for the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

import redis.exceptions
from fastapi import APIRouter, Header, Query, Request
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.problems import Problem, Unavailable, answers

from zentoria_backend.access import Caller
from zentoria_backend.access.principal import Principal
from zentoria_backend.access.service import Access
from zentoria_backend.events import tickets
from zentoria_backend.events.credentials import admission_of, over
from zentoria_backend.events.hub import Listener
from zentoria_backend.events.schemas import TOPICS, Event, Ticket, TicketRequest, Topic, allowed, position
from zentoria_backend.services import ServicesDep

LONGEST = 900.0
"""Seconds after which a stream ends in any case: the client comes back and shows that its credential is still good."""
PING_SECONDS = 15
SLOWEST_SEND = 10.0
RETRY_MILLISECONDS = 1000

router = APIRouter(tags=["events"])

Topics = Annotated[list[Topic] | None, Query(description="what to hear of; without it, all that the credential may")]
LastId = Annotated[str | None, Header(description="the last event that was seen", examples=["1700000000000-0"])]
LastIdInUrl = Annotated[
    str | None, Query(alias="last_event_id", description="the same, for clients that cannot send the header")
]


@router.post("/api/v1/tickets", summary="Make a ticket", status_code=201, responses=answers(401, 403))
async def make_ticket(wish: TicketRequest, caller: Caller, services: ServicesDep) -> Ticket:
    """Make a ticket for one WebSocket. It is good for half a minute and for one connection."""
    audio = wish.purpose == "audio"
    if audio and "chat:write" not in caller.scopes:
        raise Problem(403, "the credential lacks the scope chat:write", kind="insufficient-scope", scope="chat:write")
    topics: frozenset[Topic] = frozenset() if audio else _topics(wish.topics, caller)
    admission = dataclasses.replace(admission_of(caller, topics, _until(caller)), purpose=wish.purpose)
    try:
        ticket = await tickets.issue(services.redis, admission)
    except (redis.exceptions.RedisError, OSError) as error:
        raise Unavailable("redis") from error
    path = "/ws/audio" if audio else "/ws"
    return Ticket(ticket=ticket, expires_in=tickets.SECONDS, topics=sorted(topics), url=f"{path}?ticket={ticket}")


@router.get(
    "/api/v1/events",
    summary="Hear of events",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "A stream without end. `hello` comes first: `last_event_id`, and `missing` when events may "
            "be gone. Each further event has an id, its topic as its name, and `{time, data}` as its data.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": "event: jobs\nid: 1700000000000-0\ndata: {...}\n\n",
                }
            },
        },
        **answers(401, 403),
    },
)
async def stream(
    request: Request,
    caller: Caller,
    services: ServicesDep,
    topics: Topics = None,
    last_event_id: LastId = None,
    last_event_id_in_url: LastIdInUrl = None,
) -> EventSourceResponse:
    """Tell the caller's events as they happen (server-sent events)."""
    last = last_event_id or last_event_id_in_url or None
    try:
        if last is not None:
            position(last)
    except ValueError as error:
        raise Problem(422, f"Last-Event-ID: {error}") from None
    wanted = _topics(topics, caller)
    lifecycle: Lifecycle = request.app.state.lifecycle
    if lifecycle.draining.is_set():
        raise Unavailable("backend", "the server stops", retry_after=1)
    async with contextlib.AsyncExitStack() as stack:
        if not stack.enter_context(services.stream_clients.place(caller.user_id)):
            raise Unavailable("backend", "too many streams are open", retry_after=10)
        try:
            listener, missing = await stack.enter_async_context(services.hub.listen(caller.user_id, wanted, last))
        except (redis.exceptions.RedisError, OSError) as error:
            raise Unavailable("redis") from error
        held = stack.pop_all()
    admission = admission_of(caller, wanted, _until(caller))
    hello = {"last_event_id": listener.last, "topics": sorted(wanted), "missing": missing}

    async def told() -> AsyncIterator[ServerSentEvent]:
        async with held:
            end = asyncio.create_task(_end(listener, lifecycle, services.access, admission))
            try:
                yield ServerSentEvent(json.dumps(hello), event="hello", id=listener.last, retry=RETRY_MILLISECONDS)
                async with contextlib.aclosing(listener.events()) as events:
                    async for event in events:
                        yield ServerSentEvent(_data(event), event=event.topic, id=event.id)
            finally:
                end.cancel()

    return EventSourceResponse(
        told(),
        ping=PING_SECONDS,
        send_timeout=SLOWEST_SEND,
        headers={"cache-control": "no-store, no-transform"},
    )


async def _end(listener: Listener, lifecycle: Lifecycle, access: Access, admission: tickets.Admission) -> None:
    """End a stream when the server stops, or the credential is not good any more."""
    waiting = {asyncio.create_task(lifecycle.draining.wait()), asyncio.create_task(over(access, admission))}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        listener.close()


def _data(event: Event) -> str:
    return f'{{"time":"{event.time}","data":{event.data}}}'


def _topics(wanted: list[Topic] | None, caller: Principal) -> frozenset[Topic]:
    topics = allowed(TOPICS if wanted is None else wanted, caller.scopes)
    if not topics:
        raise Problem(403, "the credential may hear of none of these topics", kind="insufficient-scope")
    return topics


def _until(caller: Principal) -> float:
    longest = time.time() + LONGEST
    return longest if caller.expires_at is None else min(longest, caller.expires_at)
