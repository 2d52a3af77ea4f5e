"""Uploads: begun, received, given up. Each step is written down before the next, so that a killed process leaves none.

``open``: bytes come, and may stop coming; whoever finds it expired gives it up. ``received``: the object is whole in
S3, and a job makes a file of it. Only then does anybody see a file.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import sqlalchemy
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import Job as JobRow
from zentoria_schema.core import Upload as Row

from zentoria_backend.access.principal import Principal
from zentoria_backend.files import contents
from zentoria_backend.files.service import no_file
from zentoria_backend.files.store import NoSuchUpload
from zentoria_backend.jobs import service as jobs
from zentoria_backend.services import Services
from zentoria_backend.uploads.schemas import Accepted, NewUpload, Upload
from zentoria_backend.uploads.writer import Writer, part_bytes

INGEST = "files.ingest"
"""The kind of the job that makes a file of an upload."""
LEASE = datetime.timedelta(minutes=15)
"""An upload in one request is given up when for so long no part of it came."""
MAX_OPEN = 100
"""Uploads of one user that are on their way."""

_log = structlog.stdlib.get_logger("zentoria_backend.uploads")


async def receive(services: Services, principal: Principal, new: NewUpload, chunks: AsyncIterator[bytes]) -> Accepted:
    """Take a whole file in one request.

    Args:
        services: the gateway's.
        principal: whose it is.
        new: what was said of it.
        chunks: its bytes. Whatever they raise is raised, and nothing is left of what came.

    Raises:
        Problem: 413, 415, 422, 404 (``replaces``), 409, 503.
    """
    opened = await open_upload(services, principal, new, LEASE)

    async def begun(multipart: str) -> None:
        await _lease(services, opened, multipart_id=multipart)

    async def kept(_part: object) -> None:
        # a part may still be on its way: what is written down is what the server has
        await _lease(services, opened, received=sum(one.size for one in writer.parts))

    cap = services.settings.max_body_bytes
    writer = Writer(
        services.files, opened.bucket, opened.object_key, size=part_bytes(cap), on_begin=begun, on_part=kept
    )
    judged = False
    try:
        async for chunk in chunks:
            if writer.received + len(chunk) > cap:
                raise too_large(cap)
            await writer.write(chunk)
            if not judged and len(writer.head) >= contents.HEAD_BYTES:
                contents.judge(new.mime_type, new.filename, writer.head)
                judged = True
        if not judged:
            contents.judge(new.mime_type, new.filename, writer.head)
        if new.size is not None and writer.received != new.size:
            raise Problem(400, f"{writer.received} bytes came of {new.size} that were announced", kind="wrong-length")
        _check_digest(new.sha256, writer.sha256.digest())
        try:
            await writer.finish()
        except NoSuchUpload:
            raise given_up() from None
        accepted = await accept(services, principal, opened.id, writer.received, writer.sha256.digest())
    except BaseException:
        await writer.stop()
        await asyncio.shield(discard(services, opened))
        raise
    await services.jobs.defer(principal.user_id, accepted.job.id)
    return accepted


async def open_upload(services: Services, principal: Principal, new: NewUpload, lease: datetime.timedelta) -> Row:
    """Write down that an upload begins.

    Raises:
        Problem: 404, there is no file of the caller's that ``replaces`` names; 413; 429, too many are on their way.
    """
    cap = services.settings.max_body_bytes
    if new.size is not None and new.size > cap:
        raise too_large(cap)
    now = services.clock()
    row = Row(
        id=uuid.uuid4(),
        user_id=principal.user_id,
        filename=new.filename,
        mime_type=new.mime_type,
        size=new.size,
        bucket=services.settings.s3_bucket_uploads,
        object_key=f"uploads/{principal.user_id}/{uuid.uuid4()}",
        replaces=new.replaces,
        attributes={"sha256": new.sha256.hex()} if new.sha256 else {},
        expires_at=now + lease,
        parts=[],
        received=0,
        state="open",
    )
    count = select(sqlalchemy.func.count()).where(
        Row.user_id == principal.user_id, Row.state == "open", Row.expires_at > now
    )
    async with services.database.session(principal.user_id) as session:
        if new.replaces is not None:
            await _replaced(session, principal.user_id, new.replaces)
        if (await session.scalar(count) or 0) >= MAX_OPEN:
            raise Problem(
                429,
                f"{MAX_OPEN} uploads are on their way already",
                kind="too-many-uploads",
                headers={"retry-after": "60"},
            )
        session.add(row)
    return row


async def accept(
    services: Services, principal: Principal, upload_id: UUID, size: int, sha256: bytes | None
) -> Accepted:
    """The object is whole: write that down together with the job that makes a file of it.

    Raises:
        Problem: 409, the upload was given up meanwhile.
    """
    job = JobRow(
        id=uuid.uuid4(),
        user_id=principal.user_id,
        kind=INGEST,
        state="queued",
        progress=0.0,
        arguments={"upload_id": str(upload_id)},
        created_at=services.clock(),
    )
    async with services.database.session(principal.user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == upload_id, Row.state == "open").with_for_update())
        if row is None:
            raise given_up()
        session.add(job)
        await session.flush()
        row.state, row.received, row.size, row.sha256, row.job_id = "received", size, size, sha256, job.id
        await session.flush()
        details = {"filename": row.filename, "size": size, "job_id": str(job.id)}
        await services.audit.record(
            principal, "files.upload", "upload", str(upload_id), details=details, session=session
        )
    return Accepted(upload_id=upload_id, size=size, sha256=sha256.hex() if sha256 else None, job=jobs.shown(job))


async def get_upload(services: Services, principal: Principal, upload_id: UUID) -> Upload:
    """One of the caller's uploads.

    Raises:
        Problem: 404.
    """
    return shown(await row_of(services, principal, upload_id))


async def row_of(services: Services, principal: Principal, upload_id: UUID) -> Row:
    """The row of one of the caller's uploads.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == upload_id, Row.user_id == principal.user_id))
    if row is None:
        raise Problem(404, "there is no such upload")
    return row


async def discard(services: Services, row: Row) -> None:
    """Give an upload up, and remove what is there of it. What cannot be done now, the sweeper does."""
    try:
        async with services.database.session(row.user_id) as session:
            changed = (
                update(Row)
                .where(Row.id == row.id, Row.state == "open")
                .values(expires_at=services.clock())
                .returning(Row.multipart_id)
            )
            found = (await session.execute(changed)).one_or_none()
        if found is not None:  # else it was accepted after all
            await remove(services, row.bucket, row.object_key, found[0])
            await mark_aborted(services, row.user_id, row.id)
    except (Unavailable, sqlalchemy.exc.SQLAlchemyError) as error:
        _log.warning("upload is given up later", error_type=type(error).__qualname__)


async def mark_aborted(services: Services, user_id: int, upload_id: UUID) -> bool:
    """Write down that an upload was given up; nothing of it is left. False: it was not open any more."""
    changed = (
        update(Row)
        .where(Row.id == upload_id, Row.state == "open", Row.expires_at <= services.clock())
        .values(state="aborted")
        .returning(Row.id)
    )
    async with services.database.session(user_id) as session:
        return (await session.scalar(changed)) is not None


async def remove(services: Services, bucket: str, key: str, multipart_id: str | None) -> None:
    """Remove an object, whole or in parts, and what belongs to it.

    Raises:
        Unavailable: the object storage does not answer.
    """
    store = services.files
    # One that was begun, and whose id nobody could write down, is found by the key.
    for upload in {*await store.unfinished(bucket, key), *([multipart_id] if multipart_id else [])}:
        await store.abort(bucket, key, upload)
    await store.delete(bucket, key, *await store.keys(bucket, f"{key}.tail/"))


def too_large(cap: int) -> Problem:
    """413."""
    return Problem(413, f"the file is larger than {cap} bytes", headers={"connection": "close"})


def given_up() -> Problem:
    """409: the upload expired, or somebody ended it."""
    return Problem(409, "the upload was given up meanwhile", kind="upload-given-up")


def shown(row: Row) -> Upload:
    """A row as clients see it."""
    return Upload(
        id=row.id,
        state=row.state,  # type: ignore[arg-type] # the table's own check has the same values
        filename=row.filename,
        size=row.size,
        received=row.received,
        created_at=row.created_at,
        expires_at=row.expires_at,
        job_id=row.job_id,
        file_id=row.file_id,
        error=row.error,
    )


def _check_digest(wanted: bytes | None, got: bytes) -> None:
    if wanted is not None and wanted != got:
        raise digest_mismatch()


def digest_mismatch() -> Problem:
    """422: the bytes are not those that were announced."""
    return Problem(422, "the SHA-256 of what came is not the one that was announced", kind="digest-mismatch")


async def _replaced(session: AsyncSession, user_id: int, file_id: UUID) -> None:
    wanted = select(FileRow.id).where(FileRow.id == file_id, FileRow.user_id == user_id, FileRow.deleted_at.is_(None))
    if await session.scalar(wanted) is None:
        raise no_file()


async def _lease(services: Services, row: Row, **values: Any) -> None:
    changed = (
        update(Row)
        .where(Row.id == row.id, Row.state == "open")
        .values(expires_at=services.clock() + LEASE, **values)
        .returning(Row.id)
    )
    async with services.database.session(row.user_id) as session:
        if await session.scalar(changed) is None:
            raise given_up()


def sha256_of(text: str | None) -> bytes | None:
    """A digest from outside, in hexadecimal digits.

    Raises:
        Problem: 422.
    """
    if text is None or not text:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != hashlib.sha256().digest_size:
        raise Problem(422, "sha256 is 64 hexadecimal digits")
    return found
