"""Uploads in several requests: what came is kept, and goes on from there.

Bytes that fill no part wait in an object of their own beside the one that they become a part of: S3 takes no part of
less than 5 MiB but the last.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import redis.asyncio
import redis.exceptions
from sqlalchemy import update
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import Upload as Row

from zentoria_backend.access.principal import Principal
from zentoria_backend.files import contents
from zentoria_backend.files.store import NoSuchUpload, Part
from zentoria_backend.services import Services
from zentoria_backend.uploads import service
from zentoria_backend.uploads.schemas import Accepted, NewUpload
from zentoria_backend.uploads.writer import Writer, part_bytes

LOCK_SECONDS = 60.0
"""For so long an upload stays locked after the process that wrote to it has died."""
CHECKSUMS = ("sha256", "sha1", "md5")


class ChecksumMismatch(Exception):
    """The chunk is not what its checksum says; nothing of it is kept."""


@dataclasses.dataclass(frozen=True)
class Checksum:
    """Of one chunk.

    Args:
        algorithm: one of :data:`CHECKSUMS`.
        digest: what it has to be.
    """

    algorithm: str
    digest: bytes


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far an upload is.

    Args:
        offset: bytes that are kept.
        expires_at: when it is given up unless it goes on.
        accepted: at its end, the job.
    """

    offset: int
    expires_at: datetime.datetime
    accepted: Accepted | None = None


def patience(services: Services) -> datetime.timedelta:
    """How long an upload may rest."""
    return datetime.timedelta(seconds=services.settings.upload_expiry_seconds)


async def create(services: Services, principal: Principal, new: NewUpload) -> Row:
    """Begin one; ``new.size`` is known.

    Raises:
        Problem: 404, 413, 429.
    """
    return await service.open_upload(services, principal, new, patience(services))


async def append(
    services: Services,
    principal: Principal,
    upload_id: UUID,
    offset: int,
    chunks: AsyncIterator[bytes],
    checksum: Checksum | None = None,
) -> Progress:
    """Take more bytes. What came is kept also where ``chunks`` end with an error, unless there is a checksum.

    Args:
        services: the gateway's.
        principal: whose upload it is.
        upload_id: which.
        offset: where the client believes that it is.
        chunks: the bytes.
        checksum: of all of them.

    Raises:
        ChecksumMismatch: nothing of them is kept.
        Problem: 404; 409, it is at another offset; 413, more came than was announced; 423, another request writes to
            it; 503.
    """
    lock = services.redis.lock(f"{services.prefix}:upload:{upload_id}", timeout=LOCK_SECONDS, blocking=False)
    if not await lock.acquire():
        raise Problem(423, "another request writes to this upload", kind="upload-locked", headers={"retry-after": "1"})
    try:
        return await _locked(services, principal, upload_id, offset, chunks, checksum, lock)
    finally:
        await _release(lock)


async def _locked(
    services: Services,
    principal: Principal,
    upload_id: UUID,
    offset: int,
    chunks: AsyncIterator[bytes],
    checksum: Checksum | None,
    lock: redis.asyncio.lock.Lock,
) -> Progress:
    row = await service.row_of(services, principal, upload_id)
    if row.state != "open" or row.expires_at <= services.clock():
        raise Problem(410, "the upload is at its end", kind="upload-ended")
    if row.received != offset:
        raise Problem(409, f"the upload is at {row.received}", kind="wrong-offset", offset=row.received)
    assert row.size is not None  # noqa: S101 -- for the type: it is announced when it begins
    state = _State(services, row)

    async def kept(_part: Part) -> None:
        if checksum is None:
            await state.keep(writer.parts, "")
        await lock.extend(LOCK_SECONDS, replace_ttl=True)

    writer = Writer(
        services.files, row.bucket, row.object_key, size=part_bytes(services.settings.max_body_bytes),
        upload=row.multipart_id, parts=state.parts, tail=await state.read_tail(), on_begin=state.began, on_part=kept,
    )  # fmt: skip
    digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    judged = offset > 0
    try:
        async for chunk in chunks:
            if writer.received + len(chunk) > row.size:
                raise Problem(413, f"more came than the {row.size} bytes that were announced", kind="wrong-length")
            if digest is not None:
                digest.update(chunk)
            await writer.write(chunk)
            if not judged and len(writer.head) >= contents.HEAD_BYTES:
                contents.judge(row.mime_type, row.filename, writer.head)
                judged = True
        if digest is not None and checksum is not None and digest.digest() != checksum.digest:
            raise ChecksumMismatch
        if writer.received < row.size:
            await state.pause(writer)
            return Progress(writer.received, await state.rest())
        return await _end(services, principal, row, writer)
    except NoSuchUpload:
        await writer.stop()
        raise service.given_up() from None
    except Problem as problem:
        await writer.settle_or_stop()
        if checksum is None and problem.kind == "cut-off" and writer.received < row.size:
            await state.pause(writer)
        raise
    except BaseException:
        await writer.stop()
        raise


async def finish(services: Services, principal: Principal, row: Row) -> Accepted | None:
    """Make the object of an upload whose bytes are all there, which a process left before that; None: they are not."""
    if row.state != "open" or row.size is None or row.received != row.size:
        return None

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    return (await append(services, principal, row.id, row.received, nothing())).accepted


async def terminate(services: Services, principal: Principal, upload_id: UUID) -> None:
    """Give an upload up; one that is at its end stays what it is.

    Raises:
        Problem: 404; 409, it has become a file or is about to.
    """
    row = await service.row_of(services, principal, upload_id)
    if row.state in ("received", "done"):
        raise Problem(409, "the upload is complete", kind="upload-complete")
    await service.discard(services, row)
    details = {"filename": row.filename, "received": row.received}
    await services.audit.record(principal, "files.upload_ended", "upload", str(upload_id), details=details)


async def _end(services: Services, principal: Principal, row: Row, writer: Writer) -> Progress:
    await writer.finish()
    digest = writer.sha256.digest() if writer.fresh else None
    accepted = await service.accept(services, principal, row.id, writer.received, digest)
    await services.jobs.defer(principal.user_id, accepted.job.id)
    return Progress(writer.received, row.expires_at, accepted)


async def _release(lock: redis.asyncio.lock.Lock) -> None:
    try:
        await lock.release()
    except redis.exceptions.RedisError:
        return  # it ran out, or Redis is away: it ends by itself


class _State:
    """What is written down of one upload while bytes come."""

    def __init__(self, services: Services, row: Row) -> None:
        self._services, self._row = services, row
        self._received = row.received
        entries: list[dict[str, Any]] = list(row.parts)
        self.parts = [
            Part(one["number"], one["etag"], one["size"], one["sha256"]) for one in entries if "number" in one
        ]
        self._tail = next((one for one in entries if "tail" in one), None)

    async def read_tail(self) -> bytes:
        """Bytes that fill no part yet."""
        if self._tail is None:
            return b""
        try:
            chunks = await self._services.files.read(self._row.bucket, self._tail["tail"], 0, self._tail["size"])
            return b"".join([one async for one in chunks])
        except FileNotFoundError:
            raise Unavailable("s3", "the object storage does not have what was kept of this upload") from None

    async def began(self, multipart_id: str) -> None:
        await self._write(multipart_id=multipart_id)

    async def keep(self, parts: list[Part], tail: str, tail_size: int = 0) -> None:
        """Write down that these parts are there, and what of the tail."""
        old, self._tail = self._tail, {"tail": tail, "size": tail_size} if tail else None
        entries = [dataclasses.asdict(one) for one in parts] + ([self._tail] if self._tail else [])
        received = sum(one.size for one in parts) + tail_size
        await self._write(parts=entries, received=received)
        self._received = received
        if old is not None and old["tail"] != tail:
            await self._services.files.delete(self._row.bucket, old["tail"])

    async def pause(self, writer: Writer) -> None:
        """Keep what fills no part yet."""
        await writer.settle()
        rest = writer.rest
        if self._tail is not None and self._tail["size"] == len(rest) and writer.parts == self.parts:
            return  # nothing came
        key = f"{self._row.object_key}.tail/{writer.received}" if rest else ""
        if rest:
            await self._services.files.put(self._row.bucket, key, rest)
        await self.keep(writer.parts, key, len(rest))

    async def rest(self) -> datetime.datetime:
        """The upload rests; returns until when."""
        until = self._services.clock() + patience(self._services)
        await self._write(expires_at=until)
        return until

    async def _write(self, **values: Any) -> None:
        changed = (
            update(Row)
            .where(Row.id == self._row.id, Row.state == "open", Row.received == self._received)
            .values(**{"expires_at": self._services.clock() + patience(self._services), **values})
            .returning(Row.id)
        )
        async with self._services.database.session(self._row.user_id) as session:
            if await session.scalar(changed) is None:
                raise service.given_up()
