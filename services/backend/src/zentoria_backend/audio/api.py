"""``/api/v1/audio``: passed on to the container that hears and speaks, as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from zentoria_common.problems import Problem, answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.audio.schemas import Speech
from zentoria_backend.callees.service import passed_on
from zentoria_backend.services import ServicesDep

TRANSCRIPTIONS = "/api/v1/audio/transcriptions"
_KEPT = ("content-type", "content-language")

router = APIRouter(tags=["audio"])

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "any format that ffmpeg reads"},
                        "model": {"type": "string"},
                        "language": {"type": "string", "description": "as `en`; found out where it is not said"},
                        "response_format": {"enum": ["json", "verbose_json", "text", "srt", "vtt"]},
                    },
                }
            }
        },
    }
}


@router.post(
    TRANSCRIPTIONS,
    summary="Write down what is said",
    response_class=Response,
    openapi_extra=_FORM,
    responses={
        200: {
            "description": "The text; which form it has, `response_format` says",
            "content": {
                "application/json": {"schema": {"type": "object", "properties": {"text": {"type": "string"}}}},
                "text/plain": {"schema": {"type": "string"}},
                "text/vtt": {"schema": {"type": "string"}},
            },
        },
        **answers(404, 409, 413, 415, 422, 502),
    },
)
async def transcribe(request: Request, principal: Caller, services: ServicesDep) -> Response:
    """Send a recording as a form (OpenAI's names); it is passed on as it comes, and nothing of it is kept here."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Problem(415, "send a form: multipart/form-data with the field `file`")
    cap = services.settings.audio_max_bytes
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > cap:
        raise _too_large(cap)

    async def body() -> AsyncIterator[bytes]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > cap:
                raise _too_large(cap)
            yield chunk

    try:
        async with services.callees.stream(
            "voice",
            "POST",
            "/v1/audio/transcriptions",
            user=principal,
            content=body(),
            headers={"content-type": kind},
            silence=services.settings.stream_silence * 5,  # two hours of audio take their time
        ) as answer:
            await answer.aread()
    except ClientDisconnect:
        return Response(status_code=499)
    if answer.status_code >= 400:
        passed_on(answer, "voice")
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    await services.audit.record(principal, "audio.transcribe", "audio", details={"bytes": len(answer.content)})
    return Response(answer.content, headers=kept)


@router.post(
    "/api/v1/audio/speech",
    summary="Speak a text",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The sound, as it is made",
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("audio/wav", "audio/mpeg", "audio/ogg", "audio/flac")
            },
        },
        **answers(404, 409, 502),
    },
)
async def speak(body: Speech, principal: Caller, services: ServicesDep) -> StreamingResponse:
    """Have a text spoken. The sound begins before all of it is made; who leaves ends it."""
    stack = contextlib.AsyncExitStack()
    async with stack:
        answer = await stack.enter_async_context(
            services.callees.stream(
                "voice",
                "POST",
                "/v1/audio/speech",
                user=principal,
                json=body.model_dump(exclude_none=True),
                silence=services.settings.stream_silence,
            )
        )
        if answer.status_code >= 400:
            await answer.aread()
            passed_on(answer, "voice")
        held = stack.pop_all()

    async def sound() -> AsyncIterator[bytes]:
        async with held:
            async for chunk in answer.aiter_bytes():
                yield chunk

    kind = answer.headers.get("content-type", "application/octet-stream")
    return StreamingResponse(sound(), media_type=kind, headers={"cache-control": "no-store"})


def _too_large(cap: int) -> Problem:
    return Problem(413, f"the recording is larger than {cap} bytes", headers={"connection": "close"})
