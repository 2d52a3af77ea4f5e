"""``/v1/audio/stream``: samples in, events out. Closed with 1000 when all is heard, 1003, 1008, 1009 or 1013 before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect
from zentoria_common.problems import Problem

from zentoria_voice.audio.child import RATE
from zentoria_voice.live.session import Session, TooFast
from zentoria_voice.transcription.service import Transcriber

router = APIRouter()
QUIET_SECONDS = 60.0
"""A client that sends nothing for so long is gone."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_log = structlog.stdlib.get_logger("zentoria_voice.live")


class Streams:
    """How many are open."""

    def __init__(self, most: int) -> None:
        self.most, self.open = most, 0


@router.websocket("/v1/audio/stream")
async def stream(socket: WebSocket, language: str = "") -> None:
    """Hear a speaker. ``{"event": "end"}`` says that there is no more; the last event is ``end`` or ``error``."""
    transcriber: Transcriber = socket.app.state.transcriber
    streams: Streams = socket.app.state.streams
    await socket.accept()
    if language and not _LANGUAGE.fullmatch(language):
        await _refuse(socket, Problem(422, "language is a code as en", kind="language-unknown"), 1008)
        return
    if streams.open >= streams.most:
        await _refuse(socket, Problem(503, "as many streams are open as may", kind="unavailable"), 1013)
        return
    streams.open += 1
    try:
        await _serve(socket, Session(transcriber, socket.send_json, language or None))
    finally:
        streams.open -= 1


async def _serve(socket: WebSocket, session: Session) -> None:
    hearing = asyncio.create_task(session.run(), name="hearing")
    reading = asyncio.create_task(_read(socket, session), name="reading")
    try:
        await asyncio.wait({hearing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
            session.end()
        await hearing
        await socket.send_json({"event": "end"})
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):
        return  # it left: nobody is to be told
    except TooFast:
        problem = Problem(429, "samples come faster than they can be heard", kind="too-fast")
        await _refuse(socket, problem, 1009)
    except Problem as error:
        await _refuse(socket, error, 1013 if error.status == 503 else 1008)
    finally:
        for task in (hearing, reading):
            task.cancel()
        await asyncio.wait({hearing, reading})
        for task in (hearing, reading):
            if not task.cancelled():
                task.exception()


async def _read(socket: WebSocket, session: Session) -> None:
    """Read until the client says that there is no more.

    Raises:
        Problem: what comes is no audio, or too much, or nothing comes.
        TooFast: it comes too fast.
        WebSocketDisconnect: the client left.
    """
    most, count = session.transcriber.settings.max_seconds, 0
    while True:
        try:
            message = await asyncio.wait_for(socket.receive(), QUIET_SECONDS)
        except TimeoutError:
            raise Problem(408, f"nothing came for {QUIET_SECONDS:g} s", kind="quiet") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        if data is None:
            try:
                if json.loads(message.get("text") or "")["event"] == "end":
                    return
            except (ValueError, KeyError, TypeError, RecursionError):
                pass
            raise Problem(422, 'a text is {"event": "end"}; samples are binary', kind="not-audio")
        if len(data) % 2:
            raise Problem(422, "samples have 16 bits: a message has an even number of bytes", kind="not-audio")
        count += len(data) // 2
        if count > most * RATE:
            raise Problem(413, f"the audio is longer than {most:g} s", kind="audio-too-long")
        session.add(data)


async def _refuse(socket: WebSocket, error: Problem, code: int) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        told = {"event": "error", "type": f"/problems/{error.kind}", "status": error.status, "detail": error.detail}
        await socket.send_json({**told, **error.members})
        await socket.close(code)
