"""``/ws``: the events of one user as they happen.

The client opens ``/ws?ticket=...`` with a ticket of ``POST /api/v1/tickets``, and ``&last_event_id=...`` to go on after
an event that it saw. It gets one text message each:

* ``{"type": "hello", "last_event_id": "...", "topics": [...], "missing": false}`` at once. ``missing`` is true when
  events after the one that the client named may be gone: it should ask for the state anew.
* ``{"type": "event", "id": "...", "topic": "jobs", "time": "...", "data": {...}}``.
* ``{"type": "pong"}`` for each ``{"type": "ping"}``, with its ``id`` where it has one. Nothing else may be sent.

The server sends WebSocket pings every 20 s. The close code says what ended a connection: 1001 the server stops, 1008
the client broke the rules, 4001 the credential is not good any more, 4008 the client read too slowly. After 1001, 4001
and 4008 a client may come back with a new ticket and the last id that it saw, and misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any

import redis.exceptions
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from zentoria_common.problems import problem
from zentoria_common.tasks import ended as all_ended

from zentoria_backend.events import tickets
from zentoria_backend.events.credentials import over
from zentoria_backend.events.hub import Listener
from zentoria_backend.events.schemas import Event, Ping, envelope, position
from zentoria_backend.services import services_of

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
"""Close codes of RFC 6455, section 7.4.1."""
TIME_IS_OVER = 4001
TOO_SLOW = 4008
"""Close codes of our own, from the range that RFC 6455 leaves to applications."""

SLOWEST_SEND = 10.0
"""Seconds that one message may wait for room towards the client."""
LAST_WORD = 5.0
"""Seconds that the close frame may wait for room."""

_log = structlog.stdlib.get_logger("zentoria_backend.events")
router = APIRouter()


class TooSlowError(Exception):
    """The client does not read."""


def admitted(origins: list[str], allowed: frozenset[str]) -> bool:
    """Whether a page of this origin may open a WebSocket (RFC 6455, section 10.2).

    Only browsers send the header, and they always do. A program without one shows its ticket, like everybody.
    """
    return not origins or (len(origins) == 1 and origins[0] in allowed)


@router.websocket("/ws")
async def stream(websocket: WebSocket) -> None:
    """Serve one client until it leaves, breaks the rules, reads too slowly, or its time is over."""
    state = websocket.app.state
    services = services_of(websocket)
    query = websocket.query_params
    # uvicorn logs the whole target when it answers: the ticket is nobody's business
    websocket.scope["query_string"] = b""
    if not admitted(websocket.headers.getlist("origin"), services.origins):
        await refuse(websocket, 403, "pages of this origin may not open this WebSocket")
        return
    last = query.get("last_event_id") or None
    try:
        if last is not None:
            position(last)
    except ValueError as error:
        await refuse(websocket, 422, f"last_event_id: {error}")
        return
    if state.lifecycle.draining.is_set():
        await refuse(websocket, 503, "the server stops", {"retry-after": "1"})
        return
    try:
        admission = await tickets.redeem(services.redis, query.get("ticket", ""))
    except (redis.exceptions.RedisError, OSError):
        await refuse(websocket, 503, "Redis, where tickets are kept, did not answer", {"retry-after": "5"})
        return
    if admission is None or admission.until <= time.time():
        await refuse(websocket, 401, "the ticket is unknown, used, or too old: ask for a new one")
        return
    with services.stream_clients.place(admission.user_id) as place:
        if not place:
            await refuse(websocket, 503, "too many WebSockets are open", {"retry-after": "10"})
            return
        try:
            async with services.hub.listen(admission.user_id, admission.topics, last) as (listener, missing):
                await websocket.accept()
                hello = {
                    "type": "hello",
                    "last_event_id": listener.last,
                    "topics": sorted(admission.topics),
                    "missing": missing,
                }
                code = await _serve(websocket, listener, hello, over(services.access, admission))
        except (redis.exceptions.RedisError, OSError):
            await refuse(websocket, 503, "Redis, where events are kept, did not answer", {"retry-after": "5"})
            return
    if code is not None:
        with contextlib.suppress(RuntimeError, TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(LAST_WORD):
                await websocket.close(code)


async def _serve(
    websocket: WebSocket, listener: Listener, hello: dict[str, Any], ended: Coroutine[Any, Any, None]
) -> int | None:
    """Tell events until something ends it; the close code for that, or None when the client has left."""
    tasks: dict[asyncio.Task[None], int] = {}

    def start(work: Coroutine[Any, Any, Any], code: int) -> None:
        tasks[asyncio.create_task(work)] = code

    start(_listen(websocket), POLICY_VIOLATION)
    start(_tell(websocket, listener, hello), TOO_SLOW)
    start(websocket.app.state.lifecycle.draining.wait(), GOING_AWAY)
    start(ended, TIME_IS_OVER)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return max(tasks[task] for task in done)
    except WebSocketDisconnect:
        return None
    except TooSlowError:
        return TOO_SLOW
    finally:
        await all_ended(*tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()


async def _tell(websocket: WebSocket, listener: Listener, hello: dict[str, Any]) -> None:
    await _send(websocket, json.dumps(hello, separators=(",", ":")))
    async with contextlib.aclosing(listener.events()) as events:
        async for event in events:
            await _send(websocket, frame(event))


def frame(event: Event) -> str:
    """The event as a message. Its data is JSON already, and is put in as it is."""
    return json.dumps(envelope(event), separators=(",", ":"))[:-1] + f',"data":{event.data}}}'


async def _listen(websocket: WebSocket) -> None:
    """Answer pings; return when the client says anything else.

    Raises:
        WebSocketDisconnect: the client left.
    """
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            ping = Ping.model_validate_json(message.get("text") or "")
        except ValidationError:
            return
        pong = {"type": "pong"} if ping.id is None else {"type": "pong", "id": ping.id}
        await _send(websocket, json.dumps(pong))


async def _send(websocket: WebSocket, text: str) -> None:
    try:
        async with asyncio.timeout(SLOWEST_SEND):
            await websocket.send_text(text)
    except TimeoutError:
        raise TooSlowError from None


async def refuse(websocket: WebSocket, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
    """Answer the handshake with a problem document: the WebSocket never opens."""
    _log.info("websocket refused", status=status)
    await websocket.send_denial_response(problem(status, detail, headers))
