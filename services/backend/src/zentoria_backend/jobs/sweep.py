"""What processes that died left behind, and what has had its time: given up, tried again, removed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncGenerator, Awaitable
from uuid import UUID

import sqlalchemy
import structlog
from procrastinate.exceptions import ProcrastinateException
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from zentoria_common import siblings
from zentoria_common.problems import Problem
from zentoria_common.tasks import ended
from zentoria_schema.core import Job as JobRow
from zentoria_schema.core import Upload as UploadRow

from zentoria_backend.documents import forgetting
from zentoria_backend.jobs import service
from zentoria_backend.jobs.queue import stopping
from zentoria_backend.services import Services
from zentoria_backend.uploads.service import mark_aborted, remove

MOST = 100
"""Rows of each kind at a time."""
_LOCK = 0x5A54_4A53
"""Of the advisory lock: one process sweeps at a time."""

_log = structlog.stdlib.get_logger("zentoria_backend.jobs")


@contextlib.asynccontextmanager
async def sweeping(services: Services) -> AsyncGenerator[None]:
    """Sweep again and again while the block runs, in the first of several workers."""
    if not siblings.current().first:
        yield
        return
    task = asyncio.create_task(_forever(services), name="sweep")
    try:
        yield
    finally:
        await ended(task)


async def _forever(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.sweep_seconds)
        try:
            async with services.database.session() as session:
                # held while the block runs: others pass by
                if not await session.scalar(sqlalchemy.select(sqlalchemy.func.pg_try_advisory_xact_lock(_LOCK))):
                    continue
                await sweep(services)
        except asyncio.CancelledError:
            if stopping():
                raise
        except Exception as error:  # whatever it is: nobody else would look for what is left behind
            _said("sweep goes on later", error)


async def sweep(services: Services) -> dict[str, int]:
    """Look once for all that is due; returns how much was done of each kind.

    Raises:
        Unavailable: the database does not answer. What fails by itself is left for the next time.
    """
    now = services.clock()
    done = dict.fromkeys(("uploads", "files", "jobs", "stalled"), 0)
    done["stalled"] = await _tried(services.jobs.forget_stalled())
    silent = now - datetime.timedelta(seconds=services.settings.job_stalled_seconds)
    for user_id, one in await _due(services, "jobs", silent):
        done["jobs"] += await _tried(_again(services, user_id, one, silent))
    for user_id, one in await _due(services, "uploads", now):
        done["uploads"] += await _tried(_give_up(services, user_id, one))
    for user_id, one in await _due(services, "files", now):
        done["files"] += await _tried(_purge(services, user_id, one))
    return done


async def _due(services: Services, kind: str, before: datetime.datetime) -> list[tuple[int, UUID]]:
    statement = sqlalchemy.text("SELECT user_id, id FROM rows_due(:kind, :before, :most)")
    async with services.database.session() as session:
        rows = await session.execute(statement, {"kind": kind, "before": before, "most": MOST})
        return [(row[0], row[1]) for row in rows]


async def _tried(work: Awaitable[int]) -> int:
    """One thing of many: whatever becomes of it, the others have their turn."""
    try:
        return await work
    except Exception as error:
        _said("left for the next sweep", error)
        return 0


def _said(what: str, error: Exception) -> None:
    expected = isinstance(error, (Problem, SQLAlchemyError, ProcrastinateException, OSError))
    _log.warning(what, error_type=type(error).__qualname__, exc_info=not expected)


async def _again(services: Services, user_id: int, job_id: UUID, silent: datetime.datetime) -> bool:
    """A job that nobody works at: its worker died, or the queue lost it."""
    return await service.take_back(services, user_id, job_id, silent) and await services.jobs.defer(user_id, job_id)


async def _give_up(services: Services, user_id: int, upload_id: UUID) -> bool:
    """An upload that expired. Its bytes go first; whoever still sends some is told that it was given up."""
    async with services.database.session(user_id) as session:
        row = await session.scalar(select(UploadRow).where(UploadRow.id == upload_id, UploadRow.state == "open"))
    if row is None:
        return await _without_job(services, user_id, upload_id)
    await remove(services, row.bucket, row.object_key, row.multipart_id)
    return await mark_aborted(services, user_id, upload_id)


async def _without_job(services: Services, user_id: int, upload_id: UUID) -> bool:
    """An upload that was received waits for its job; one whose job has failed for good is nobody's any more."""
    whole = select(UploadRow, JobRow.error).join(JobRow, JobRow.id == UploadRow.job_id)
    whole = whole.where(
        UploadRow.id == upload_id, UploadRow.state == "received", JobRow.state.in_(("failed", "cancelled"))
    )
    async with services.database.session(user_id) as session:
        found = (await session.execute(whole)).one_or_none()
    if found is None:
        return False
    row, error = found
    await remove(services, row.bucket, row.object_key, row.multipart_id)
    ended = update(UploadRow).where(UploadRow.id == upload_id, UploadRow.state == "received")
    async with services.database.session(user_id) as session:
        await session.execute(ended.values(state="failed", error=error))
    return True


async def _purge(services: Services, user_id: int, file_id: UUID) -> bool:
    """A file whose deletion cannot be undone any more."""
    return await forgetting.purge(services, user_id, file_id) is not None
