"""The job that makes a file of an upload: its content is looked at, then everybody whose file it is sees it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy import select, update
from zentoria_common.problems import Problem
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import FileVersion as VersionRow
from zentoria_schema.core import Job as JobRow
from zentoria_schema.core import Upload as UploadRow

from zentoria_backend.documents import queueing
from zentoria_backend.events import publish
from zentoria_backend.files import contents
from zentoria_backend.files.service import no_file
from zentoria_backend.jobs import scan, service
from zentoria_backend.jobs.service import described
from zentoria_backend.services import Services
from zentoria_backend.uploads.service import digest_mismatch, remove

NOTE_SECONDS = 2.0
"""How often the job says how far it is."""


async def ingest(services: Services, user_id: int, job_id: UUID) -> None:
    """Make a file of the upload that the job is for. Done already, it does nothing.

    Raises:
        Problem: the content is refused; nothing of it is left.
        Unavailable: something that it needs is away.
    """
    async with services.database.session(user_id) as session:
        row = await session.scalar(select(UploadRow).where(UploadRow.job_id == job_id))
    if row is None:
        raise Problem(500, "the upload of this job is not there", kind="upload-missing")
    if row.state != "received":
        return
    try:
        digest, kind = await _look(services, row, user_id, job_id)
        if row.parts:  # it rested in between: what waited beside it has become a part of it
            await services.files.delete(row.bucket, *await services.files.keys(row.bucket, f"{row.object_key}.tail/"))
        made = await _publish(services, row, user_id, job_id, digest, kind)
    except Problem as problem:
        if problem.status != 503:
            await _refuse(services, row, user_id, job_id, problem)
            await publish(
                services.redis, user_id, "jobs", {"id": job_id, "state": "failed", "error": described(problem)}
            )
        raise
    if made is not None:
        file_id, version, reading = made
        await publish(services.redis, user_id, "files", {"id": file_id, "change": "content", "version": version})
        await publish(services.redis, user_id, "jobs", {"id": job_id, "state": "done", "file_id": file_id})
        if reading is not None:
            await services.jobs.defer(user_id, reading, queueing.READ)


async def _look(services: Services, row: UploadRow, user_id: int, job_id: UUID) -> tuple[bytes, str]:
    """SHA-256 and kind of what is in S3; a scanner sees all of it."""
    size = row.size or 0
    expected = row.attributes.get("sha256")
    head, digest = b"", row.sha256
    if digest is None or scan.wanted(services.settings):
        reading = _Reading(services, row, user_id, job_id)
        if scan.wanted(services.settings):
            await scan.scan(services.settings, reading.chunks())
        async for _ in reading.chunks():
            continue
        head = reading.head
        if digest is not None and digest != reading.sha256.digest():
            raise Problem(500, "the object storage has other bytes than came", kind="damaged")
        digest = reading.sha256.digest()
    elif size:
        head = b"".join([one async for one in await _read(services, row, min(size, contents.HEAD_BYTES))])
    if expected is not None and expected != digest.hex():
        raise digest_mismatch()
    return digest, contents.judge(row.mime_type, row.filename, head)


class _Reading:
    """Reads the object once, whoever asks for chunks first; says from time to time how far it is."""

    def __init__(self, services: Services, row: UploadRow, user_id: int, job_id: UUID) -> None:
        self._services, self._row, self._user_id, self._job_id = services, row, user_id, job_id
        self.sha256, self.head, self._done = hashlib.sha256(), b"", 0
        self._stream: AsyncIterator[bytes] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        size = self._row.size or 0
        if not size:
            return
        if self._stream is None:
            self._stream = await _read(self._services, self._row, size)
        noted = time.monotonic()
        async for chunk in self._stream:
            self.sha256.update(chunk)
            self.head += chunk[: max(0, contents.HEAD_BYTES - len(self.head))]
            self._done += len(chunk)
            yield chunk
            if time.monotonic() - noted > NOTE_SECONDS:
                noted = time.monotonic()
                await service.note(self._services, self._user_id, self._job_id, self._done / size * 0.9, "verify")


async def _read(services: Services, row: UploadRow, length: int) -> AsyncIterator[bytes]:
    try:
        return await services.files.read(row.bucket, row.object_key, 0, length)
    except FileNotFoundError:
        raise Problem(500, "the object storage does not have what was uploaded", kind="content-missing") from None


async def _publish(
    services: Services, upload: UploadRow, user_id: int, job_id: UUID, digest: bytes, kind: str
) -> tuple[UUID, int, UUID | None] | None:
    """File, version, upload, job, and the job that reads its text, in one transaction: all of it, or nothing."""
    now = services.clock()
    async with services.database.session(user_id) as session:
        row = await session.scalar(select(UploadRow).where(UploadRow.id == upload.id).with_for_update())
        if row is None or row.state != "received":
            return None
        values = {"bucket": row.bucket, "path": row.object_key, "size": row.size, "mime_type": kind, "sha256": digest}
        if row.replaces is None:
            file = FileRow(user_id=user_id, filename=row.filename, version=1, **values)
            session.add(file)
        else:
            wanted = select(FileRow).where(FileRow.id == row.replaces, FileRow.deleted_at.is_(None)).with_for_update()
            found = await session.scalar(wanted)
            if found is None:
                raise no_file()
            file = found
            for name, value in values.items():
                setattr(file, name, value)
            file.version += 1
            file.revision += 1
        await session.flush()
        version = VersionRow(
            file_id=file.id, user_id=user_id, number=file.version, bucket=row.bucket, object_key=row.object_key,
            size=row.size, mime_type=kind, sha256=digest,
        )  # fmt: skip
        session.add(version)
        row.state, row.file_id, row.sha256 = "done", file.id, digest
        installed = services.settings.rag_url is not None
        reading = await queueing.wanted(session, file, now) if installed else None
        result = {"file_id": str(file.id), "version": file.version}
        await session.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(state="done", progress=1.0, stage=None, file_id=file.id, result=result, finished_at=now)
        )
    return file.id, file.version, reading.id if reading is not None else None


async def _refuse(services: Services, row: UploadRow, user_id: int, job_id: UUID, problem: Problem) -> None:
    """Remove the content first: a process that is killed in between finds the job still to do."""
    await remove(services, row.bucket, row.object_key, row.multipart_id)
    error = described(problem)
    async with services.database.session(user_id) as session:
        await session.execute(
            update(UploadRow)
            .where(UploadRow.id == row.id, UploadRow.state == "received")
            .values(state="failed", error=error)
        )
        await session.execute(
            update(JobRow).where(JobRow.id == job_id).values(state="failed", error=error, finished_at=services.clock())
        )
