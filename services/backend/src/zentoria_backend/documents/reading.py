"""The job that reads a document: retrieval reads its text, text recognition the pages without one, then it is found.

Every step may come twice: a process that was killed leaves the job to another one, which goes on where the rows say.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import func, select, update
from zentoria_common.identity import OnBehalf
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import Document, DocumentPage
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import FileVersion as VersionRow
from zentoria_schema.core import Job as JobRow

from zentoria_backend.callees import ndjson
from zentoria_backend.documents import forgetting, pages, queueing
from zentoria_backend.documents.pages import Gone, Progress
from zentoria_backend.events import publish
from zentoria_backend.services import Services

SCOPES = frozenset({"files:read", "files:write", "search:read"})
MAX_BROKEN = 5
"""Tries of a document in whose middle something breaks: it may well be the document that breaks it."""
_LOW_CONFIDENCE = 50.0
"""Percent, below which somebody should have a look at what was recognised."""


@dataclasses.dataclass(frozen=True)
class Work:
    """One version of a document, and where it is."""

    user_id: int
    job_id: UUID
    file_id: UUID
    wanted: int
    number: int
    origin: str
    bucket: str
    key: str
    sha256: str
    size: int
    mime_type: str
    filename: str
    project: str | None
    tags: tuple[str, ...]
    uploaded_at: datetime.datetime

    @property
    def user(self) -> OnBehalf:
        """For whom it is read."""
        return OnBehalf(self.user_id, SCOPES)


async def read(services: Services, user_id: int, job_id: UUID) -> None:
    """Read the document of a job. Done already, it does nothing.

    Raises:
        Problem: it cannot be read.
        Unavailable: something that is needed is away: it is tried again.
    """
    await queueing.alone(services, user_id, job_id)
    try:
        await _read(services, user_id, job_id)
    except Gone:
        await _given_up(services, user_id, job_id)
    except Problem as problem:
        if problem.status in (410, 429, 503):  # 410: it left the index meanwhile, and is wanted again
            raise Unavailable(
                str(problem.members.get("service", "document")), problem.detail or "it is tried again"
            ) from problem
        raise


async def _read(services: Services, user_id: int, job_id: UUID) -> None:
    work = await _work(services, user_id, job_id)
    if work is None:
        return
    await pages.tell(services, user_id, work.file_id, "reading", page=0, pages=0)
    recognised = work.origin == "ocr"
    known: dict[str, Any] = {}
    if not recognised and work.mime_type in queueing.IMAGES:
        work, recognised = await _recognise(services, work, None), True
    known = await _index(services, work, (0.5, 1.0) if recognised else (0.0, 0.5))
    unread = [one for one in known.get("unread") or () if isinstance(one, int)]
    if unread and not recognised and work.mime_type == queueing.PDF:
        work = await _recognise(services, work, unread)
        known = await _index(services, work, (0.8, 1.0))
        unread = [one for one in known.get("unread") or () if isinstance(one, int)]
    await _move(services, work)
    await _finish(services, work, known, unread)


async def _work(services: Services, user_id: int, job_id: UUID) -> Work | None:
    """What the job is to do; None: nothing any more."""
    async with services.database.session(user_id) as session:
        job = await session.scalar(select(JobRow).where(JobRow.id == job_id))
        if job is None:
            return None
        file_id, wanted = UUID(job.arguments["file_id"]), int(job.arguments["version"])
        file = await session.scalar(select(FileRow).where(FileRow.id == file_id).with_for_update())
        if file is None or file.deleted_at is not None:
            raise Gone
        version = await session.scalar(
            select(VersionRow).where(VersionRow.file_id == file_id, VersionRow.number == file.version)
        )
        if version is None:
            raise Gone
        if version.number != wanted and version.origin != "ocr":  # another content has come: it has a job of its own
            job.state, job.progress, job.stage, job.finished_at = "done", 1.0, None, services.clock()
            return None
        if file.document_state != "reading":
            file.document_state = "reading"
        await session.flush()
        return Work(
            user_id, job_id, file_id, wanted, version.number, version.origin, version.bucket, version.object_key,
            version.sha256.hex(), version.size,
            queueing.readable(version.mime_type, file.filename) or version.mime_type,
            file.filename, file.project, tuple(file.tags), file.uploaded_at,
        )  # fmt: skip


async def _index(services: Services, work: Work, share: tuple[float, float]) -> dict[str, Any]:
    """Have a version read into the index; what retrieval knows of it then."""
    progress = Progress(services, work.user_id, work.file_id, work.job_id, "read", share)
    body = {
        "bucket": work.bucket,
        "object_key": work.key,
        "sha256": work.sha256,
        "filename": work.filename,
        "mime": work.mime_type,
        "size": work.size,
        "project": work.project,
        "tags": list(work.tags),
        "created_at": work.uploaded_at.isoformat(),
    }
    path = f"/v1/documents/{work.file_id}/versions/{work.number}"
    known: dict[str, Any] = {}
    async with contextlib.aclosing(_events(services, work, "embeddings", path, body)) as events:
        async for event in events:
            if event["event"] == "page":
                state = pages.READ_STATES.get(str(event.get("state")), "waiting")
                await progress.page(
                    _int(event.get("page")), event.get("pages"), state=state, chunks=event.get("chunks")
                )
            elif event["event"] == "done":
                known = event
    total = known.get("pages")
    for number in known.get("unread") or ():
        await progress.page(_int(number), total if isinstance(total, int) else None, state="unread")
    await progress.flush()
    return known


async def _recognise(services: Services, work: Work, wanted: list[int] | None) -> Work:
    """Have pages recognised; the searchable PDF becomes the next version of the file."""
    progress = Progress(services, work.user_id, work.file_id, work.job_id, "recognise", (0.0, 0.8))
    body = {
        "bucket": work.bucket,
        "object_key": work.key,
        "mime": work.mime_type,
        "pages": wanted,
        "prefix": f"documents/{work.user_id}/{work.file_id}",
    }
    made: dict[str, Any] = {}
    path = f"/v1/recognitions/{work.sha256}"
    async with contextlib.aclosing(_events(services, work, "ocr", path, body)) as events:
        async for event in events:
            if event["event"] == "page":
                state = pages.RECOGNISED_STATES.get(str(event.get("state")))
                if state is not None:
                    await progress.page(
                        _int(event.get("page")),
                        event.get("pages") or len(wanted or ()),
                        state=state,
                        engine=event.get("engine"),
                        confidence=event.get("confidence"),
                    )
            elif event["event"] == "done":
                made = event
    await progress.flush()
    try:
        values = {
            "bucket": str(made["bucket"]),
            "object_key": str(made["object_key"]),
            "size": int(made["size"]),
            "mime_type": str(made.get("mime") or queueing.PDF),
            "sha256": bytes.fromhex(str(made["sha256"])),
        }
    except (KeyError, ValueError):
        raise Problem(502, "ocr gave an answer of another form", kind="bad-gateway", service="ocr") from None
    return await _next_version(services, work, values)


async def _next_version(services: Services, work: Work, values: dict[str, Any]) -> Work:
    async with services.database.session(work.user_id) as session:
        file = await session.scalar(select(FileRow).where(FileRow.id == work.file_id).with_for_update())
        if file is None or file.deleted_at is not None or file.version != work.number:
            superseded = True
        else:
            superseded = False
            number = work.number + 1
            session.add(VersionRow(file_id=work.file_id, user_id=work.user_id, number=number, origin="ocr", **values))
            file.version, file.revision = number, file.revision + 1
            file.bucket, file.path, file.size = values["bucket"], values["object_key"], values["size"]
            file.mime_type, file.sha256 = values["mime_type"], values["sha256"]
            await session.execute(update(Document).where(Document.file_id == work.file_id).values(version=number))
    if superseded:
        await services.files.delete(values["bucket"], values["object_key"])
        raise Gone
    news = {"id": work.file_id, "change": "content", "version": work.number + 1}
    await publish(services.redis, work.user_id, "files", news)
    return dataclasses.replace(
        work,
        number=work.number + 1,
        origin="ocr",
        bucket=values["bucket"],
        key=values["object_key"],
        size=values["size"],
        mime_type=values["mime_type"],
        sha256=values["sha256"].hex(),
    )


async def _move(services: Services, work: Work) -> None:
    """Move what was uploaded to where documents are: a copy first, then the rows, and last the old object goes."""
    source, target = services.settings.s3_bucket_uploads, services.settings.s3_bucket_documents
    async with services.database.session(work.user_id) as session:
        rows = await session.scalars(
            select(VersionRow).where(VersionRow.file_id == work.file_id, VersionRow.origin == "upload")
        )
        keys = [(one.id, one.bucket, one.object_key) for one in rows]
    for version_id, bucket, key in keys:
        moved = f"documents/{key.removeprefix('uploads/')}"
        if bucket == source:
            try:
                await services.files.copy(source, key, target, moved)
            except FileNotFoundError:
                raise Problem(
                    500, "the object storage does not have what was uploaded", kind="content-missing"
                ) from None
            async with services.database.session(work.user_id) as session:
                changed = update(VersionRow).where(VersionRow.id == version_id, VersionRow.object_key == key)
                await session.execute(changed.values(bucket=target, object_key=moved))
                current = update(FileRow).where(FileRow.id == work.file_id, FileRow.path == key)
                await session.execute(current.values(bucket=target, path=moved))
            await services.files.delete(source, key)
        elif bucket == target:  # a process that was killed may have left the old one
            await services.files.delete(source, f"uploads/{key.removeprefix('documents/')}")


async def _finish(services: Services, work: Work, known: dict[str, Any], unread: list[int]) -> None:
    doubtful = select(func.count()).where(
        DocumentPage.file_id == work.file_id,
        sqlalchemy.or_(DocumentPage.state.in_(("failed", "unread")), DocumentPage.confidence < _LOW_CONFIDENCE),
    )
    now = services.clock()
    async with services.database.session(work.user_id) as session:
        file = await session.scalar(select(FileRow).where(FileRow.id == work.file_id).with_for_update())
        if file is None or file.deleted_at is not None:
            raise Gone
        look = bool(unread) or not known.get("chunks") or bool(await session.scalar(doubtful))
        state = "needs_a_look" if look else "ready"
        if file.version == work.number:
            file.document_state = state
        values: dict[str, Any] = {
            "version": work.number,
            "pages": known.get("pages"),
            "chunks": known.get("chunks"),
            "language": known.get("language"),
            "title": (str(known["title"])[:300] if known.get("title") else None),
            "error": None,
            "ready_at": now,
        }
        await session.execute(update(Document).where(Document.file_id == work.file_id).values(**values))
        result = {"file_id": str(work.file_id), "version": work.number, "state": state}
        await session.execute(
            update(JobRow)
            .where(JobRow.id == work.job_id)
            .values(state="done", progress=1.0, stage=None, result=result, finished_at=now)
        )
        count = known.get("pages") or 0
        details = {"version": work.number, "pages": count, "chunks": known.get("chunks"), "state": state}
        await services.audit.record(None, "documents.read", "file", str(work.file_id), details=details, session=session)
    await pages.tell(services, work.user_id, work.file_id, state, page=count, pages=count, version=work.number)
    await publish(services.redis, work.user_id, "jobs", {"id": work.job_id, "state": "done", "file_id": work.file_id})


async def _given_up(services: Services, user_id: int, job_id: UUID) -> None:
    """The file is gone: what the index has of it goes as well."""
    async with services.database.session(user_id) as session:
        job = await session.scalar(select(JobRow).where(JobRow.id == job_id))
    if job is None:
        return
    await forgetting.out_of_the_index(services, user_id, UUID(job.arguments["file_id"]))
    ended = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(("queued", "running")))
    async with services.database.session(user_id) as session:
        await session.execute(ended.values(state="cancelled", finished_at=services.clock()))


async def _events(
    services: Services, work: Work, service: str, path: str, body: dict[str, Any]
) -> AsyncGenerator[dict[str, Any]]:
    """Events of a container; what breaks in their middle is counted: one document must not break it for good."""
    begun = False
    try:
        async with (
            services.callees.stream(
                service, "PUT", path, user=work.user, json=body, silence=services.settings.stream_silence
            ) as answer,
            contextlib.aclosing(ndjson.events(answer, service)) as events,
        ):
            begun = answer.status_code < 400
            async for event in events:
                yield event
    except Problem as problem:
        broken = begun and problem.kind == "service-missing"
        if broken or (problem.status >= 500 and problem.status != 503):
            await _broken(services, work, problem)
        raise


async def _broken(services: Services, work: Work, problem: Problem) -> None:
    """Count a break.

    Raises:
        Problem: 422, it was one too many.
        Unavailable: it is tried again.
    """
    async with services.database.session(work.user_id) as session:
        job = await session.scalar(select(JobRow).where(JobRow.id == work.job_id).with_for_update())
        broken = int((job.arguments if job else {}).get("broken", 0)) + 1
        if job is not None:
            job.arguments = {**job.arguments, "broken": broken}
    service = str(problem.members.get("service", "document"))
    if broken >= MAX_BROKEN:
        text = f"{service} broke off {broken} times while it read this: {problem.detail}"
        raise Problem(422, text[:500], kind="document-poison", service=service) from problem
    raise Unavailable(service, problem.detail or "it broke off") from problem


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0
