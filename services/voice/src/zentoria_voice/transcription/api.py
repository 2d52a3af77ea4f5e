"""``POST /v1/audio/transcriptions`` and ``GET /v1/models``, as OpenAI's interface has them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from zentoria_common.problems import Problem, answers

from zentoria_voice.gone import unless_gone
from zentoria_voice.transcription import formats
from zentoria_voice.transcription.service import Transcriber
from zentoria_voice.transcription.whisper import Options

router = APIRouter()


@router.post("/v1/audio/transcriptions", responses=answers(413, 422), response_model=None)
async def transcribe(
    request: Request,
    file: Annotated[UploadFile, File()],
    model: Annotated[str, Form(max_length=100)] = "",
    language: Annotated[str | None, Form(pattern=r"^[a-z]{2,3}$")] = None,
    prompt: Annotated[str, Form(max_length=2000)] = "",
    response_format: Annotated[formats.Format, Form()] = "json",
    temperature: Annotated[float | None, Form(ge=0, le=1)] = None,
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]] | None, Form(alias="timestamp_granularities[]")
    ] = None,
) -> Response:
    """Transcribe a file of audio, or of video with sound. ``model`` is what there is, or ``whisper-1``."""
    transcriber: Transcriber = request.app.state.transcriber
    if model not in ("", "whisper-1", transcriber.model.name):
        raise Problem(404, f"there is no model of that name, but {transcriber.model.name}", kind="no-such-model")
    if not file.size:
        raise Problem(422, "the file is empty", kind="not-audio")
    transcriber.places.check()
    wanted = timestamp_granularities or ["segment"]
    options = Options(
        language=language, prompt=prompt or None, words="word" in wanted,
        beam_size=transcriber.settings.beam_size, temperature=temperature,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="transcription-") as folder:
        source = Path(folder) / "source"
        await asyncio.to_thread(_copy, file, source)
        found = await unless_gone(request, transcriber.transcribe(source, Path(folder), options))
    if response_format == "text":
        return PlainTextResponse(f"{found.text}\n")
    if response_format == "srt":
        return Response(formats.srt(found.segments), media_type="application/x-subrip; charset=utf-8")
    if response_format == "vtt":
        return Response(formats.vtt(found.segments), media_type="text/vtt; charset=utf-8")
    if response_format == "verbose_json":
        return JSONResponse(formats.verbose(found, segments="segment" in wanted, words="word" in wanted))
    return JSONResponse({"text": found.text})


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Models that are used here, and whether they are there yet."""
    state = request.app.state
    return {
        "object": "list",
        "data": [
            {"id": one.name, "object": "model", "owned_by": "zentoria", "purpose": purpose, "state": one.state}
            for purpose, one in (("transcription", state.transcriber.model), ("speech", state.speaker.model))
        ],
    }


def _copy(file: UploadFile, target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
