"""Which files are documents, and the jobs that read and forget them."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Unavailable
from zentoria_schema.core import Document, DocumentPage
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import FileVersion as VersionRow
from zentoria_schema.core import Job as JobRow

if TYPE_CHECKING:
    from zentoria_backend.services import Services

READ, FORGET = "document", "document.forget"
"""Kinds of jobs."""
RELABEL = "document.relabel"
"""The chore that tells the index of a file's new project and tags."""

PDF = "application/pdf"
IMAGES = frozenset({"image/jpeg", "image/png", "image/tiff", "image/webp"})
"""Text recognition makes a PDF of them first."""
_OFFICE = "application/vnd.openxmlformats-officedocument."
_BY_NAME = {
    "csv": "text/csv",
    "docx": f"{_OFFICE}wordprocessingml.document",
    "eml": "message/rfc822",
    "htm": "text/html",
    "html": "text/html",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "pdf": PDF,
    "pptx": f"{_OFFICE}presentationml.presentation",
    "txt": "text/plain",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
}
"""Kinds that the first bytes do not tell apart: archives that are office files, texts of all sorts."""
_VAGUE = frozenset({"application/zip", "text/plain"})
READABLE = frozenset({PDF, *IMAGES, *_BY_NAME.values()})


def readable(mime_type: str, filename: str) -> str | None:
    """The kind as which a file is read; None: it has no text that anybody reads."""
    if mime_type in _VAGUE:
        mime_type = _BY_NAME.get(filename.rpartition(".")[2].lower(), mime_type)
    return mime_type if mime_type in READABLE else None


async def wanted(session: AsyncSession, file: FileRow, now: datetime.datetime) -> JobRow | None:
    """Write down that the current content of a file is to be read, where it can be; the job is given out afterwards."""
    await session.execute(delete(DocumentPage).where(DocumentPage.file_id == file.id))
    if readable(file.mime_type, file.filename) is None:
        file.document_state = None
        await session.execute(delete(Document).where(Document.file_id == file.id))
        return None
    job = _job(file, READ, now, version=file.version)
    session.add(job)
    await session.flush()
    file.document_state = "waiting"
    values = {
        "version": file.version,
        "job_id": job.id,
        "duplicate_of": await _same_bytes(session, file),
        "error": None,
        "ready_at": None,
    }
    row = insert(Document).values(file_id=file.id, user_id=file.user_id, **values)
    await session.execute(row.on_conflict_do_update(index_elements=[Document.file_id], set_=values))
    await session.flush()
    return job


async def forgotten(
    session: AsyncSession, file: FileRow, now: datetime.datetime, *, purge: bool = False
) -> JobRow | None:
    """Write down that the text of a file is to leave the index; with ``purge``, everything of it is to go."""
    if file.document_state is None and not purge:
        return None
    file.document_state = None
    job = _job(file, FORGET, now, purge=purge)
    session.add(job)
    await session.flush()
    return job


async def alone(services: Services, user_id: int, job_id: uuid.UUID) -> None:
    """Let a job about a document that began earlier end first.

    Raises:
        Unavailable: there is such a one: this one comes again.
    """
    async with services.database.session(user_id) as session:
        job = await session.scalar(select(JobRow).where(JobRow.id == job_id))
        if job is None or job.file_id is None:
            return
        earlier = select(JobRow.id).where(
            JobRow.file_id == job.file_id,
            JobRow.id != job_id,
            JobRow.kind.in_((READ, FORGET)),
            JobRow.state == "running",
            sqlalchemy.tuple_(JobRow.created_at, JobRow.id) < (job.created_at, job_id),
        )
        if await session.scalar(earlier.limit(1)) is not None:
            raise Unavailable("document", "another job works at this document")


def _job(file: FileRow, kind: str, now: datetime.datetime, **arguments: object) -> JobRow:
    return JobRow(
        id=uuid.uuid4(),
        user_id=file.user_id,
        kind=kind,
        state="queued",
        progress=0.0,
        file_id=file.id,
        arguments={"file_id": str(file.id), **arguments},
        created_at=now,
    )


async def _same_bytes(session: AsyncSession, file: FileRow) -> uuid.UUID | None:
    """The oldest other file of the same owner that has or had the same content."""
    query = (
        select(FileRow.id)
        .join(VersionRow, VersionRow.file_id == FileRow.id)
        .where(
            FileRow.user_id == file.user_id,
            FileRow.id != file.id,
            FileRow.deleted_at.is_(None),
            VersionRow.user_id == file.user_id,
            VersionRow.sha256 == file.sha256,
        )
        .order_by(FileRow.uploaded_at, FileRow.id)
        .limit(1)
    )
    return await session.scalar(query)
