"""``POST /v1/audio/speech``, as OpenAI's interface has it, and the voices that there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from zentoria_common.problems import Problem, answers

from zentoria_voice.audio.encode import MEDIA_TYPES, Format
from zentoria_voice.gone import unless_gone
from zentoria_voice.speech.service import DEFAULT, Speaker, Utterance

router = APIRouter()


class Speech(BaseModel):
    """What is to be said.

    ``language`` is ours: with another one than English, espeak-ng speaks, whatever the voice.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    input: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(max_length=100)] = ""
    voice: Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9_]+$")] = DEFAULT
    language: Annotated[str, Field(max_length=12, pattern=r"^([a-z]{2,3}(-[a-z0-9]{2,8})?)?$")] = ""
    response_format: Format = "mp3"
    speed: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0


@router.post("/v1/audio/speech", responses=answers(422))
async def speak(request: Request, asked: Speech) -> StreamingResponse:
    """Speak a text. The answer begins when the first sentence is spoken. ``model`` is what there is, or ``tts-1``."""
    speaker: Speaker = request.app.state.speaker
    if asked.model not in ("", "tts-1", "tts-1-hd", "espeak-ng", speaker.model.name):
        raise Problem(404, f"there is no model of that name, but {speaker.model.name}", kind="no-such-model")
    if len(asked.input) > speaker.settings.max_characters:
        detail = f"the text has more than {speaker.settings.max_characters} characters"
        raise Problem(422, detail, kind="text-too-long")
    voice = "espeak" if asked.model == "espeak-ng" else asked.voice
    said = Utterance(asked.input, voice, asked.language, asked.speed)
    pieces = speaker.speak(said, asked.response_format)
    first = await unless_gone(request, _first(pieces))
    return StreamingResponse(_all(first, pieces), media_type=MEDIA_TYPES[asked.response_format])


@router.get("/v1/audio/voices")
async def voices(request: Request) -> dict[str, Any]:
    """Voices that there are now."""
    speaker: Speaker = request.app.state.speaker
    return {"voices": speaker.voices()}


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces)


async def _all(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
