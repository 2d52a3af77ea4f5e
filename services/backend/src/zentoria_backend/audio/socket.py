"""``/ws/audio``: a microphone's sound to the container that hears, and what it hears back.

The client opens ``/ws/audio?ticket=...`` with a ticket of ``POST /api/v1/tickets`` (``purpose``: ``audio``), sends PCM
(signed 16 bit, little endian, 16 kHz, one channel) in binary messages and ``{"event": "end"}`` at last. It gets JSON:
``speech_start``, ``partial``, ``final``, ``error``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import redis.exceptions
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from zentoria_common.identity import OnBehalf
from zentoria_common.tasks import ended as all_ended

from zentoria_backend.events import tickets
from zentoria_backend.events.credentials import over
from zentoria_backend.events.socket import GOING_AWAY, LAST_WORD, TIME_IS_OVER, admitted, refuse
from zentoria_backend.services import services_of

MAX_MESSAGE = 1 << 20
"""Bytes: half a minute of sound."""
MAX_SECONDS = 2 * 3600.0
INTERNAL_ERROR = 1011

_log = structlog.stdlib.get_logger("zentoria_backend.audio")
router = APIRouter()


@router.websocket("/ws/audio")
async def listen(websocket: WebSocket) -> None:
    """Carry sound and words until one side leaves, or the time is over."""
    services = services_of(websocket)
    ticket = websocket.query_params.get("ticket", "")
    language = websocket.query_params.get("language", "")
    websocket.scope["query_string"] = b""  # uvicorn logs the whole target: the ticket is nobody's business
    if not admitted(websocket.headers.getlist("origin"), services.origins):
        await refuse(websocket, 403, "pages of this origin may not open this WebSocket")
        return
    if websocket.app.state.lifecycle.draining.is_set():
        await refuse(websocket, 503, "the server stops", {"retry-after": "1"})
        return
    try:
        admission = await tickets.redeem(services.redis, ticket, purpose="audio")
    except (redis.exceptions.RedisError, OSError):
        await refuse(websocket, 503, "Redis, where tickets are kept, did not answer", {"retry-after": "5"})
        return
    if admission is None or admission.until <= time.time():
        await refuse(websocket, 401, "the ticket is unknown, used, or too old: ask for a new one")
        return
    url = services.settings.voice_stream_url
    with services.stream_clients.place(admission.user_id) as place:
        if not place or url is None:
            text = "voice is not installed yet" if url is None else "too many WebSockets are open"
            await refuse(websocket, 503, text, {"retry-after": "10"})
            return
        user = OnBehalf(admission.user_id, frozenset({"chat:read", "chat:write"}), admission.sid or "")
        headers = services.callees.headers("voice", user)
        spoken = f"?language={language}" if language.isascii() and language.isalpha() and len(language) <= 3 else ""
        try:
            async with connect(
                url.replace("http", "ws", 1) + "/v1/audio/stream" + spoken,
                additional_headers={name: value for name, value in headers.items() if name.lower() != "user-agent"},
                open_timeout=services.settings.call_timeout,
                close_timeout=LAST_WORD,
                max_size=MAX_MESSAGE,
                proxy=None,
            ) as voice:
                await websocket.accept()
                ended = asyncio.ensure_future(over(services.access, admission))
                code = await _carry(websocket, voice, ended)
        except (WebSocketException, OSError) as error:
            _log.warning("container does not answer", dependency="voice", error=type(error).__qualname__)
            await refuse(websocket, 503, "voice does not answer", {"retry-after": "5"})
            return
    if code is not None:
        with contextlib.suppress(RuntimeError, TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(LAST_WORD):
                await websocket.close(code)


async def _carry(websocket: WebSocket, voice: ClientConnection, ended: asyncio.Future[None]) -> int | None:
    """Carry both ways; the close code for what ended it, None when the client has left."""
    tasks: dict[asyncio.Future[Any], int | None] = {
        asyncio.ensure_future(_up(websocket, voice)): None,
        asyncio.ensure_future(_down(websocket, voice)): 1000,
        asyncio.ensure_future(websocket.app.state.lifecycle.draining.wait()): GOING_AWAY,
        asyncio.ensure_future(asyncio.sleep(MAX_SECONDS)): TIME_IS_OVER,
        ended: TIME_IS_OVER,
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is not None and not isinstance(task.exception(), WebSocketDisconnect):
                return INTERNAL_ERROR
        return next(tasks[task] for task in done)
    finally:
        await all_ended(*tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()


async def _up(websocket: WebSocket, voice: ClientConnection) -> None:
    """Sound, and the word that no more comes."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (sound := message.get("bytes")) is not None:
            await voice.send(sound)
        elif (text := message.get("text")) is not None and len(text) <= 1000:
            await voice.send(text)


async def _down(websocket: WebSocket, voice: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in voice:
            if isinstance(message, str):
                await websocket.send_text(message)
