"""Documents: how far they are, their passages, read once more, found by what they say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from zentoria_common.identity import OnBehalf
from zentoria_common.problems import Problem
from zentoria_schema.core import Document as DocumentRow
from zentoria_schema.core import DocumentPage as PageRow
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import Job as JobRow

from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.documents import queueing, tickets
from zentoria_backend.documents.schemas import Document, DocumentPage, Passage, PassageHit
from zentoria_backend.files.service import no_file
from zentoria_backend.jobs import service as jobs
from zentoria_backend.jobs.schemas import Job
from zentoria_backend.services import Services

MOST_PAGES = 10_000
SEARCH_SECONDS = 30.0


class Found(BaseModel):
    """What retrieval answers to a search."""

    model_config = ConfigDict(extra="ignore")

    hits: list[PassageHit] = []
    understood: dict[str, Any] = {}
    supported: bool = True


async def document(services: Services, principal: Principal, file_id: UUID) -> Document:
    """How far the text of one of the caller's files is, page by page.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        file = await session.scalar(select(FileRow).where(FileRow.id == file_id, FileRow.user_id == principal.user_id))
        if file is None:
            raise no_file()
        row = await session.scalar(select(DocumentRow).where(DocumentRow.file_id == file_id))
        query = select(PageRow).where(PageRow.file_id == file_id).order_by(PageRow.number).limit(MOST_PAGES)
        pages = list(await session.scalars(query))
    known = {name: getattr(row, name) for name in _KNOWN} if row is not None else {}
    return Document(
        file_id=file_id,
        state=file.document_state,  # type: ignore[arg-type] # the table's own check has the same values
        items=[
            DocumentPage(
                page=one.number,
                state=one.state,  # type: ignore[arg-type] # likewise
                chunks=one.chunks,
                engine=one.engine,
                confidence=one.confidence,
            )
            for one in pages
        ],
        **known,
    )


_KNOWN = (
    *("version", "pages", "chunks", "language", "title"),
    *("duplicate_of", "job_id", "error", "ready_at"),
)


async def read_again(services: Services, principal: Principal, file_id: UUID) -> Job:
    """Have the text of a file read once more. While somebody reads it, that goes on.

    Raises:
        Problem: 404; 409, there is no text in such a file; 503, retrieval is not installed.
    """
    async with services.database.session(principal.user_id) as session:
        file = await session.scalar(
            select(FileRow)
            .where(FileRow.id == file_id, FileRow.user_id == principal.user_id, FileRow.deleted_at.is_(None))
            .with_for_update()
        )
        if file is None:
            raise no_file()
        services.callees.url("embeddings")  # where it is not installed, nobody reads
        running = (
            select(JobRow)
            .join(DocumentRow, DocumentRow.job_id == JobRow.id)
            .where(DocumentRow.file_id == file_id, JobRow.state.in_(("queued", "running")))
        )
        job = await session.scalar(running)
        if job is None:
            job = await queueing.wanted(session, file, services.clock())
            if job is None:
                raise Problem(409, f"nobody reads the text of {file.mime_type}", kind="no-document")
            await services.audit.record(principal, "documents.read_again", "file", str(file_id), session=session)
        shown = jobs.shown(job)
    await services.jobs.defer(principal.user_id, shown.id, queueing.READ)
    return shown


async def passage(services: Services, principal: Principal, file_id: UUID, chunk_id: UUID) -> Passage:
    """A passage of one of the caller's documents, with an address that opens the version in which it stands.

    Raises:
        Problem: 404; 503, retrieval is away.
    """
    async with services.database.session(principal.user_id) as session:
        query = select(FileRow.filename).where(
            FileRow.id == file_id, FileRow.user_id == principal.user_id, FileRow.deleted_at.is_(None)
        )
        filename = await session.scalar(query)
    if filename is None:
        raise no_file()
    answer = await services.callees.call("embeddings", "GET", f"/v1/chunks/{chunk_id}", user=principal)
    if answer.status_code == 404:
        raise _no_passage()
    chunk = parsed(PassageHit, passed_on(answer, "embeddings"), "embeddings")
    if chunk.file_id != file_id:
        raise _no_passage()
    opens = tickets.Pass(principal.user_id, file_id, chunk.version)
    ticket, until = await tickets.issue(services.redis, opens, services.clock())
    place = f"#page={chunk.page}" if chunk.page else ""
    return Passage(
        **chunk.model_dump(exclude={"score", "filename"}),
        filename=filename,
        url=f"/api/v1/content/{ticket}{place}",
        url_expires_at=until,
    )


async def search(services: Services, principal: Principal, query: str, limit: int, **filters: Any) -> Found:
    """Passages of the caller's documents that a question is about, the best first.

    Raises:
        Problem: 503, retrieval is away.
    """
    wanted = {name: value for name, value in filters.items() if value}
    body = {"query": query, "limit": limit, **({"filters": wanted} if wanted else {})}
    answer = await services.callees.call(
        "embeddings", "POST", "/v1/search", user=principal, json=body, timeout=SEARCH_SECONDS
    )
    found = parsed(Found, passed_on(answer, "embeddings"), "embeddings")
    names = {one.file_id for one in found.hits}
    if not names:
        return found
    async with services.database.session(principal.user_id) as session:
        alive = select(FileRow.id, FileRow.filename).where(
            FileRow.id.in_(names), FileRow.user_id == principal.user_id, FileRow.deleted_at.is_(None)
        )
        there = {row.id: row.filename for row in await session.execute(alive)}
    hits = [one.model_copy(update={"filename": there[one.file_id]}) for one in found.hits if one.file_id in there]
    return found.model_copy(update={"hits": hits})


async def relabel(services: Services, user_id: int, file_id: UUID) -> None:
    """Tell the index of a file's new project and tags: searches go by them."""
    async with services.database.session(user_id) as session:
        file = await session.scalar(select(FileRow).where(FileRow.id == file_id, FileRow.deleted_at.is_(None)))
    if file is None or file.document_state is None:
        return
    body = {"project": file.project, "tags": list(file.tags)}
    user = OnBehalf(user_id, frozenset({"files:read", "files:write", "search:read"}))
    answer = await services.callees.call("embeddings", "PATCH", f"/v1/documents/{file_id}", user=user, json=body)
    if answer.status_code != 404:
        passed_on(answer, "embeddings")


def _no_passage() -> Problem:
    return Problem(404, "there is no such passage in this file")
