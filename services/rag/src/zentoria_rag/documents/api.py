"""Routes of documents and their passages."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from zentoria_common.problems import Problem, answers

from zentoria_rag.documents.ingest import Event
from zentoria_rag.documents.repository import Key
from zentoria_rag.documents.schemas import Changes, Chunk, Deleted, DocumentInfo, Source, Version
from zentoria_rag.services import OwnerDep, ServicesDep

NDJSON = "application/x-ndjson"
router = APIRouter(prefix="/v1", tags=["documents"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line of JSON for each page, and one that says how it ended (`done`, or `error`)",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    }
}


@router.put(
    "/documents/{file_id}/versions/{version}",
    responses={**_STREAM, **answers(403, 404, 409, 410, 422)},
    response_class=StreamingResponse,
)
async def read(
    file_id: uuid.UUID, version: Annotated[Version, Path()], source: Source, services: ServicesDep, owner: OwnerDep
) -> StreamingResponse:
    """Read a version of a file, so that it is found. Called again, it goes on where it was."""
    events = services.documents.read(Key(owner, file_id, version), source)
    try:
        # What is wrong from the start is an answer of its own, and no stream.
        first = await anext(events)
        if first["event"] == "error":
            raise _problem(first)
    except BaseException:
        await events.aclose()
        raise
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_lines(first, events), media_type=NDJSON, headers=headers)


@router.get("/documents/{file_id}", responses=answers(403, 404))
async def show(file_id: uuid.UUID, services: ServicesDep, owner: OwnerDep) -> DocumentInfo:
    """What is known of a file's versions and pages."""
    return _there(await services.documents.show(owner, file_id))


@router.patch("/documents/{file_id}", responses=answers(403, 404))
async def change(file_id: uuid.UUID, changes: Changes, services: ServicesDep, owner: OwnerDep) -> DocumentInfo:
    """Set project and tags."""
    wished = changes.model_dump(exclude_unset=True)
    if wished.get("tags", ()) is None:
        wished["tags"] = []
    return _there(await services.documents.change(owner, file_id, wished))


@router.delete("/documents/{file_id}", responses=answers(403))
async def delete(file_id: uuid.UUID, services: ServicesDep, owner: OwnerDep) -> Deleted:
    """Remove every trace of a file: ``left`` is the proof. What is not there is removed already."""
    return await services.documents.delete(owner, file_id)


@router.get("/chunks/{chunk_id}", responses=answers(403, 404))
async def chunk(chunk_id: uuid.UUID, services: ServicesDep, owner: OwnerDep) -> Chunk:
    """A passage, of whichever version: citations stay good when a file has a newer one."""
    found = await services.repository.chunk(owner, chunk_id)
    if found is None:
        raise Problem(404, "there is no such passage")
    return found


def _problem(event: Event) -> Problem:
    own = {"event", "type", "title", "status", "detail"}
    members = {name: value for name, value in event.items() if name not in own}
    headers = {"retry-after": str(event["retry_after"])} if "retry_after" in event else {}
    kind = str(event["type"]).removeprefix("/problems/")
    return Problem(int(event["status"]), str(event["detail"]), kind=kind, headers=headers, **members)


async def _lines(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(events):
        yield _line(first)
        async for event in events:
            yield _line(event)


def _line(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _there(found: DocumentInfo | None) -> DocumentInfo:
    if found is None:
        raise Problem(404, "there is no such document")
    return found
