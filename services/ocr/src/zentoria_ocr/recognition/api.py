"""``PUT /v1/recognitions/{sha256}``: what happens, a JSON object a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from zentoria_common.identity import OnBehalf
from zentoria_common.problems import Problem, answers

from zentoria_ocr.recognition.schemas import Recognition, Sha256
from zentoria_ocr.recognition.service import Event, Recogniser

NDJSON = "application/x-ndjson"
router = APIRouter()


def user_of(request: Request) -> OnBehalf:
    """For whom the gateway asks.

    Raises:
        Problem: for nobody.
    """
    user: OnBehalf | None = request.state.on_behalf
    if user is None:
        raise Problem(403, "this is done for users alone: show Zentoria-User", kind="user-unknown")
    return user


@router.put("/v1/recognitions/{sha256}", responses=answers(403, 415))
async def recognise(request: Request, sha256: Annotated[Sha256, Path()], asked: Recognition) -> StreamingResponse:
    """Give a document's pages a text layer, and store it as a searchable PDF.

    The answer is a stream of JSON objects, one a line: ``page`` for each page, ``waiting`` where nothing happened for a
    while, at the end ``done`` or ``error``. Pages that were read before, in the same languages, are not read again.
    """
    user = user_of(request)
    recogniser: Recogniser = request.app.state.recogniser
    recogniser.check(asked, user.user_id)
    events = recogniser.stream(asked, sha256, user.user_id)
    return StreamingResponse(_lines(events), media_type=NDJSON, headers={"cache-control": "no-store"})


@router.delete("/v1/recognitions/{sha256}", status_code=204)
async def forget(request: Request, sha256: Annotated[Sha256, Path()]) -> Response:
    """Remove what is kept here of a document: results of its pages. The searchable PDF is the caller's to remove."""
    recogniser: Recogniser = request.app.state.recogniser
    await asyncio.to_thread(recogniser.store.remove, sha256)
    return Response(status_code=204)


async def _lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in events:
        yield json.dumps(event).encode() + b"\n"
