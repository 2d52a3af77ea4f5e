"""A document leaves the index; a file that is deleted for good leaves nothing, and that is proved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from zentoria_common.identity import OnBehalf
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import Document, DocumentPage
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import FileVersion as VersionRow
from zentoria_schema.core import Job as JobRow
from zentoria_schema.core import Upload as UploadRow

from zentoria_backend.callees.service import passed_on
from zentoria_backend.documents import queueing
from zentoria_backend.events import publish
from zentoria_backend.services import Services

SCOPES = frozenset({"files:read", "files:write", "search:read"})
SECONDS = 60.0


async def forget(services: Services, user_id: int, job_id: UUID) -> None:
    """Take a deleted file out of the index, and with ``purge`` out of everything.

    Raises:
        Unavailable: something that has to let go of it is away: it is tried again.
    """
    await queueing.alone(services, user_id, job_id)
    async with services.database.session(user_id) as session:
        job = await session.scalar(select(JobRow).where(JobRow.id == job_id))
        if job is None:
            return
        file_id, purging = UUID(job.arguments["file_id"]), bool(job.arguments.get("purge"))
        file = await session.scalar(select(FileRow).where(FileRow.id == file_id))
    result: dict[str, Any] = {}
    if file is None or file.deleted_at is not None:  # else it was brought back meanwhile
        if purging and file is not None:
            result = await purge(services, user_id, file_id) or {}
        else:
            result = await out_of_the_index(services, user_id, file_id)
            await _without_pages(services, user_id, file_id)
    ended = update(JobRow).where(JobRow.id == job_id)
    async with services.database.session(user_id) as session:
        await session.execute(
            ended.values(state="done", progress=1.0, stage=None, result=result, finished_at=services.clock())
        )


async def out_of_the_index(services: Services, user_id: int, file_id: UUID) -> dict[str, Any]:
    """Have retrieval let go of a document; what it says that it removed, and has left: nothing.

    Raises:
        Unavailable: it is away, or something is left.
    """
    if services.settings.rag_url is None:
        return {}
    try:
        answer = await services.callees.call(
            "embeddings",
            "DELETE",
            f"/v1/documents/{file_id}",
            user=OnBehalf(user_id, SCOPES),
            timeout=SECONDS,
        )
        if answer.status_code == 404:
            return {"rows": 0, "vectors": 0, "left": 0}
        proof = passed_on(answer, "embeddings")
    except Problem as problem:
        if problem.status < 500:
            raise
        raise Unavailable("embeddings", "retrieval cannot let go of it now") from problem
    found = proof if isinstance(proof, dict) else {}
    if found.get("left"):
        raise Unavailable("embeddings", f"{found['left']} of its pieces are left in the index")
    return {name: found.get(name, 0) for name in ("rows", "vectors", "left")}


async def purge(services: Services, user_id: int, file_id: UUID) -> dict[str, Any] | None:
    """Remove everything of a deleted file: its text in the index, contents, rows. The audit row has the proof.

    Returns:
        The proof; None: the file is not deleted, or is gone already.

    Raises:
        Unavailable: something that has to let go of it is away.
    """
    wanted = select(FileRow).where(FileRow.id == file_id, FileRow.deleted_at.is_not(None))
    wanted = wanted.where(FileRow.purge_after <= services.clock())
    async with services.database.session(user_id) as session:
        row = await session.scalar(wanted)
        if row is None:
            return None
        versions = list(await session.scalars(select(VersionRow).where(VersionRow.file_id == file_id)))
        uploads = list(await session.scalars(select(UploadRow).where(UploadRow.file_id == file_id)))
        document = await session.scalar(select(Document).where(Document.file_id == file_id))
    proof: dict[str, Any] = {}
    if document is not None:
        proof["index"] = await out_of_the_index(services, user_id, file_id)
        proof["recognised"] = await _unrecognised(services, user_id, {one.sha256.hex() for one in versions})
    objects = {(one.bucket, one.object_key) for one in versions} | {(one.bucket, one.object_key) for one in uploads}
    for bucket, key in sorted(objects):
        await services.files.delete(bucket, key)
    left = [key for bucket, key in sorted(objects) if await services.files.there(bucket, key)]
    if left:
        raise Unavailable("s3", f"{len(left)} of its contents are still there")
    proof["objects"] = {"removed": len(objects), "left": 0}
    async with services.database.session(user_id) as session:
        row = await session.scalar(wanted.with_for_update())
        if row is None:
            return None
        await session.execute(delete(UploadRow).where(UploadRow.file_id == file_id))
        jobs = delete(JobRow).where(JobRow.file_id == file_id, JobRow.state.in_(("done", "failed", "cancelled")))
        await session.execute(jobs)
        await session.execute(delete(FileRow).where(FileRow.id == file_id))
        details = {"filename": row.filename, **proof}
        await services.audit.record(None, "files.purge", "file", str(file_id), details=details, session=session)
    await publish(services.redis, user_id, "files", {"id": file_id, "change": "purged"})
    return proof


async def _unrecognised(services: Services, user_id: int, digests: set[str]) -> int:
    """Have text recognition throw away what it kept of these contents; of how many it had something."""
    if services.settings.ocr_url is None:
        return 0
    count = 0
    for digest in sorted(digests):
        try:
            answer = await services.callees.call(
                "ocr", "DELETE", f"/v1/recognitions/{digest}", user=OnBehalf(user_id, SCOPES), timeout=SECONDS
            )
            if answer.status_code != 404:
                passed_on(answer, "ocr")
                count += 1
        except Problem as problem:
            if problem.status < 500:
                raise
            raise Unavailable("ocr", "text recognition cannot let go of it now") from problem
    return count


async def _without_pages(services: Services, user_id: int, file_id: UUID) -> None:
    async with services.database.session(user_id) as session:
        gone = select(FileRow.id).where(FileRow.id == file_id, FileRow.deleted_at.is_not(None))
        if await session.scalar(gone.with_for_update()) is not None:
            await session.execute(delete(DocumentPage).where(DocumentPage.file_id == file_id))
