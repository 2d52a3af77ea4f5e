"""Files: listed, searched, read, renamed, deleted and brought back. New content comes by ``uploads``."""

from __future__ import annotations

import dataclasses
import datetime
import unicodedata
from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import sqlalchemy
from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import RETRY_SECONDS, Problem
from zentoria_common.statements import Statement
from zentoria_schema.core import File as Row
from zentoria_schema.core import FileVersion as VersionRow

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.documents import queueing
from zentoria_backend.events import publish
from zentoria_backend.files import contents
from zentoria_backend.files.schemas import File, FileChange, FileVersion, ProjectCount
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

MAX_PROJECTS = 1000
MAX_READ = 8 << 20
"""Bytes that :func:`read_range` gives at once."""
_THERE: Mapping[bool, ColumnElement[bool]] = {False: Row.deleted_at.is_(None), True: Row.deleted_at.is_not(None)}
_NAMED = Row.words.op("@@")(sqlalchemy.func.to_tsquery("simple", bindparam("words", type_=sqlalchemy.Text())))
_LISTS = {deleted: paging.Listing(Row, Row.uploaded_at, there) for deleted, there in _THERE.items()}
_SEARCHES = {deleted: paging.Listing(Row, Row.uploaded_at, there, _NAMED) for deleted, there in _THERE.items()}
_ONE = Statement(select(*paging.columns_of(Row)).where(Row.id == bindparam("id"), Row.user_id == bindparam("owner")))


@dataclasses.dataclass(frozen=True)
class Content:
    """One content of a file, and where it is."""

    file_id: UUID
    filename: str
    number: int
    bucket: str
    key: str
    size: int
    mime_type: str
    sha256: str
    created_at: datetime.datetime

    @property
    def etag(self) -> str:
        """Strong: equal tags, equal bytes."""
        return f'"{self.sha256}"'


async def list_files(
    services: Services,
    principal: Principal,
    limit: int,
    cursor: str | None,
    *,
    query: str | None = None,
    deleted: bool = False,
    project: str | None = None,
    tag: str | None = None,
) -> Page[File]:
    """The caller's files, the newest first.

    Args:
        services: the gateway's.
        principal: the caller.
        limit: how many.
        cursor: of the page before.
        query: words that the name has, or the beginnings of them.
        deleted: those that were deleted and can be brought back, in place of the others.
        project: only those of this project.
        tag: only those with this tag.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    if project is not None or tag is not None:
        return await _list_filtered(services, principal, limit, cursor, query, deleted, project, tag)
    if query is None:
        return await _LISTS[deleted].page(services.database, principal.user_id, limit, cursor, shown)
    words = _words(query)
    if not words:
        return Page(items=[])
    wanted = _SEARCHES[deleted]
    return await wanted.page(services.database, principal.user_id, limit, cursor, shown, words=words)


async def _list_filtered(
    services: Services,
    principal: Principal,
    limit: int,
    cursor: str | None,
    query: str | None,
    deleted: bool,
    project: str | None,
    tag: str | None,
) -> Page[File]:
    after = paging.decode(cursor, datetime.datetime, UUID)
    wanted = select(Row).where(Row.user_id == principal.user_id, _THERE[deleted])
    if query is not None:
        words = _words(query)
        if not words:
            return Page(items=[])
        wanted = wanted.where(Row.words.op("@@")(sqlalchemy.func.to_tsquery("simple", words)))
    if project is not None:
        wanted = wanted.where(Row.project == project)
    if tag is not None:
        wanted = wanted.where(Row.tags.contains([tag]))
    if after is not None:
        wanted = wanted.where(sqlalchemy.tuple_(Row.uploaded_at, Row.id) < after)
    wanted = wanted.order_by(Row.uploaded_at.desc(), Row.id.desc()).limit(limit + 1)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(wanted)).all()
    return paging.page(rows, limit, shown, lambda row: (row.uploaded_at, str(row.id)))


async def search_files(
    services: Services, principal: Principal, query: str, limit: int, cursor: str | None = None
) -> Page[File]:
    """The caller's files whose names have these words, or words that begin so; the newest first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    return await list_files(services, principal, limit, cursor, query=query)


async def list_projects(services: Services, principal: Principal) -> list[ProjectCount]:
    """The projects that the caller's files are of, by name."""
    query = (
        select(Row.project, sqlalchemy.func.count())
        .where(Row.user_id == principal.user_id, Row.deleted_at.is_(None), Row.project.is_not(None))
        .group_by(Row.project)
        .order_by(Row.project)
        .limit(MAX_PROJECTS)
    )
    async with services.database.session(principal.user_id) as session:
        return [ProjectCount(name=str(row[0]), files=row[1]) for row in await session.execute(query)]


async def get_file(services: Services, principal: Principal, file_id: UUID) -> File:
    """One of the caller's files, a deleted one too.

    Raises:
        Problem: 404.
    """
    rows = await services.database.rows(_ONE, principal.user_id, id=file_id, owner=principal.user_id)
    if not rows:
        raise no_file()
    return shown(rows[0])


async def list_versions(services: Services, principal: Principal, file_id: UUID) -> list[FileVersion]:
    """Every content that a file has or had, the newest first.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, file_id, deleted=True)
        wanted = select(VersionRow).where(VersionRow.file_id == file_id).order_by(VersionRow.number.desc())
        found = (await session.scalars(wanted)).all()
    return [
        FileVersion(
            number=one.number,
            size=one.size,
            mime_type=one.mime_type,
            sha256=one.sha256.hex(),
            origin="ocr" if one.origin == "ocr" else "upload",
            created_at=one.created_at,
            current=one.number == row.version,
        )
        for one in found
    ]


async def change_file(
    services: Services, principal: Principal, file_id: UUID, change: FileChange, if_match: str | None = None
) -> File:
    """Rename a file, or set its tags.

    Raises:
        Problem: 404; 412, it is not at the revision that ``if_match`` says.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, file_id, lock=True)
        check_revision(row, if_match)
        if change.filename is not None:
            row.filename = contents.clean_name(change.filename)
        if change.tags is not None:
            row.tags = sorted(set(change.tags))
        if change.project is not None:
            row.project = change.project or None
        row.revision += 1
        await session.flush()
        await session.refresh(row)
        details = change.model_dump(exclude_none=True)
        await services.audit.record(principal, "files.change", "file", str(file_id), details=details, session=session)
    if row.document_state is not None:
        await services.jobs.chore(queueing.RELABEL, principal.user_id, file_id)
    return await _told(services, row, "changed")


async def delete_file(
    services: Services, principal: Principal, file_id: UUID, if_match: str | None = None, *, forever: bool = False
) -> File:
    """Delete a file. Until ``purge_after`` it can be brought back; a second time changes nothing.

    Its text leaves the index in any case. ``forever``: nothing can be brought back, and nothing is left of it soon.

    Raises:
        Problem: 404; 412, it is not at the revision that ``if_match`` says.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, file_id, deleted=True, lock=True)
        check_revision(row, if_match)
        job = None
        if row.deleted_at is None or forever:
            row.deleted_at = row.deleted_at or services.clock()
            undo = 0 if forever else services.settings.file_undo_seconds
            row.purge_after = services.clock() + datetime.timedelta(seconds=undo)
            row.revision += 1
            job = await queueing.forgotten(session, row, services.clock(), purge=forever)
            await session.flush()
            await session.refresh(row)
            details = {"filename": row.filename, "purge_after": row.purge_after.isoformat()}
            await services.audit.record(
                principal, "files.delete", "file", str(file_id), details=details, severity="notice", session=session
            )
    if job is not None:
        await services.jobs.defer(principal.user_id, job.id, job.kind)
    return await _told(services, row, "deleted")


async def restore_file(services: Services, principal: Principal, file_id: UUID) -> File:
    """Bring a deleted file back; one that is there stays as it is.

    Raises:
        Problem: 404, it was never there or nothing is left of it.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, file_id, deleted=True, lock=True)
        job = None
        if row.deleted_at is not None:
            row.deleted_at = row.purge_after = None
            row.revision += 1
            if services.settings.rag_url is not None:
                job = await queueing.wanted(session, row, services.clock())
            await session.flush()
            await session.refresh(row)
            await services.audit.record(
                principal, "files.restore", "file", str(file_id), severity="notice", session=session
            )
    if job is not None:
        await services.jobs.defer(principal.user_id, job.id, job.kind)
    return await _told(services, row, "restored")


async def content_of(services: Services, principal: Principal, file_id: UUID, number: int | None = None) -> Content:
    """Where the content of a file is: of its current version, or another one.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, file_id)
        wanted = select(VersionRow).where(
            VersionRow.file_id == file_id, VersionRow.number == (row.version if number is None else number)
        )
        found = (await session.scalars(wanted)).one_or_none()
    if found is None:
        raise Problem(404, "the file has no such version", kind="no-such-version")
    return Content(
        file_id,
        contents.name_of(row.filename, found.mime_type) if found.origin == "ocr" else row.filename,
        found.number,
        found.bucket,
        found.object_key,
        found.size,
        found.mime_type,
        found.sha256.hex(),
        found.created_at,
    )


async def open_content(services: Services, content: Content, start: int, length: int) -> AsyncIterator[bytes]:
    """Read a part of a content.

    Raises:
        Unavailable: the object storage does not answer, or does not have what it should.
    """
    if not length:
        return _nothing()
    try:
        return await services.files.read(content.bucket, content.key, start, length)
    except FileNotFoundError:
        raise Problem(
            503,
            "the object storage does not have this content",
            kind="content-missing",
            headers={"retry-after": str(RETRY_SECONDS)},
            service="s3",
        ) from None


async def read_range(
    services: Services, principal: Principal, file_id: UUID, start: int = 0, length: int = MAX_READ
) -> tuple[Content, bytes]:
    """A part of a file's current content, at most :data:`MAX_READ` bytes.

    Raises:
        Problem: 404, 422, 503.
    """
    if start < 0 or not 0 < length <= MAX_READ:
        raise Problem(422, f"start is 0 or more, length 1 to {MAX_READ}")
    content = await content_of(services, principal, file_id)
    length = max(0, min(length, content.size - start))
    chunks = [one async for one in await open_content(services, content, start, length)]
    return content, b"".join(chunks)


def no_file() -> Problem:
    """404, for another user's file as well."""
    return Problem(404, "there is no such file")


def check_revision(row: Row, if_match: str | None) -> None:
    """Refuse a change to what somebody changed meanwhile (RFC 9110, section 13.1.1).

    Raises:
        Problem: 412.
    """
    if if_match is not None and if_match.strip() not in ("*", f'"{row.revision}"'):
        raise Problem(412, f"the file is at revision {row.revision}", kind="changed-meanwhile", revision=row.revision)


def shown(row: Row) -> File:
    """A row as clients see it."""
    return File(
        id=row.id,
        filename=row.filename,
        size=row.size,
        mime_type=row.mime_type,
        sha256=row.sha256.hex(),
        version=row.version,
        revision=row.revision,
        tags=list(row.tags),
        project=row.project,
        document=row.document_state,  # type: ignore[arg-type] # the table's own check has the same values
        uploaded_at=row.uploaded_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        purge_after=row.purge_after,
    )


async def _told(services: Services, row: Row, change: str) -> File:
    """Tell the file's owner of the change, and return the file."""
    news = {"id": row.id, "change": change, "revision": row.revision}
    await publish(services.redis, row.user_id, "files", news)
    return shown(row)


async def _row(
    session: AsyncSession, principal: Principal, file_id: UUID, *, deleted: bool = False, lock: bool = False
) -> Row:
    wanted = select(Row).where(Row.id == file_id, Row.user_id == principal.user_id)
    if not deleted:
        wanted = wanted.where(Row.deleted_at.is_(None))
    if lock:
        wanted = wanted.with_for_update()
    found = (await session.scalars(wanted)).one_or_none()
    if found is None:
        raise no_file()
    return found


def _words(query: str) -> str:
    """A query of PostgreSQL's: every word, or what begins so. Nothing of its syntax comes from outside."""
    plain = "".join(one if unicodedata.category(one)[0] in "LN" else " " for one in query)
    return " & ".join(f"{word}:*" for word in plain.split()[:16])


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
