"""``/api/v1/files/{file_id}/pages|passages|read``, and contents by a ticket."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import StreamingResponse
from zentoria_common.problems import Problem, answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.access.principal import Principal
from zentoria_backend.documents import service, tickets
from zentoria_backend.documents.schemas import Document, Passage
from zentoria_backend.files import service as files
from zentoria_backend.files.api import DOWNLOADS, sent
from zentoria_backend.jobs.schemas import Job
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["documents"])

Ticket = Annotated[str, Path(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]{43}$")]


@router.get("/api/v1/files/{file_id}/pages", summary="Pages of a document", responses=answers(404))
async def get_pages(file_id: UUID, principal: Caller, services: ServicesDep) -> Document:
    """How far the text of a file is in the index, page by page."""
    return await service.document(services, principal, file_id)


@router.post(
    "/api/v1/files/{file_id}/read", summary="Read a document again", status_code=202, responses=answers(404, 409)
)
async def read_again(file_id: UUID, principal: Caller, services: ServicesDep) -> Job:
    """Have its text read once more: after it failed, say. While somebody reads it, that goes on."""
    return await service.read_again(services, principal, file_id)


@router.get("/api/v1/files/{file_id}/passages/{chunk_id}", summary="One passage", responses=answers(404, 502))
async def get_passage(file_id: UUID, chunk_id: UUID, principal: Caller, services: ServicesDep) -> Passage:
    """A passage that an answer cites or a search found: its page, its place on it, and an address that opens it."""
    return await service.passage(services, principal, file_id, chunk_id)


@router.get(
    "/api/v1/content/{ticket}",
    summary="Download by a ticket",
    response_class=StreamingResponse,
    responses=DOWNLOADS,
)
async def content(ticket: Ticket, request: Request, services: ServicesDep) -> Response:
    """The version of a file that a passage's address opens, or a part of it. The address is good for five minutes."""
    opens = await tickets.look(services.redis, ticket)
    if opens is None:
        raise Problem(404, "the address is too old: ask for a new one", kind="no-ticket")
    reader = Principal(opens.user_id, "member", frozenset({"files:read"}), "session", "ticket")
    found = await files.content_of(services, reader, opens.file_id, opens.version)

    async def note(start: int, length: int) -> None:
        details = {"version": found.number, "start": start, "length": length, "ticket": True}
        await services.audit.record(reader, "files.download", "file", str(opens.file_id), details=details)

    return await sent(services, request, found, note)
