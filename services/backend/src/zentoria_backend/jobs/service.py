"""Jobs: listed, shown, cancelled; and what workers write about them."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem
from zentoria_schema.core import Document
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import Job as Row

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.events import publish
from zentoria_backend.jobs.schemas import Job
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

ENDED = ("done", "failed", "cancelled")
MAX_DEATHS = 10
"""Workers that may die at a job before it is given up."""
_LIST = paging.Listing(Row, Row.created_at)


async def list_jobs(services: Services, principal: Principal, limit: int, cursor: str | None) -> Page[Job]:
    """The caller's jobs, the newest first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    return await _LIST.page(services.database, principal.user_id, limit, cursor, shown)


async def get_job(services: Services, principal: Principal, job_id: UUID) -> Job:
    """One of the caller's jobs.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == job_id, Row.user_id == principal.user_id))
    if row is None:
        raise Problem(404, "there is no such job")
    return shown(row)


async def kind_of(services: Services, user_id: int, job_id: UUID) -> str | None:
    """What kind of job it is; None: there is none of that id."""
    async with services.database.session(user_id) as session:
        return await session.scalar(select(Row.kind).where(Row.id == job_id))


async def begin(services: Services, user_id: int, job_id: UUID) -> int | None:
    """A worker takes a job up, perhaps again; returns its number in the order of those who did.

    None: there is nothing to do, or another works at it. Who was killed at it holds it until it was silent for
    ``job_stalled_seconds``; then the sweeper takes it back.
    """
    now = services.clock()
    changed = (
        update(Row)
        .where(Row.id == job_id, Row.state == "queued")
        .values(
            state="running",
            started_at=sqlalchemy.func.coalesce(Row.started_at, now),
            heartbeat_at=now,
            attempts=Row.attempts + 1,
        )
        .returning(Row.attempts)
    )
    async with services.database.session(user_id) as session:
        return await session.scalar(changed)


async def beat(services: Services, user_id: int, job_id: UUID, number: int) -> None:
    """The worker with this number lives."""
    held = update(Row).where(Row.id == job_id, Row.state == "running", Row.attempts == number)
    async with services.database.session(user_id) as session:
        await session.execute(held.values(heartbeat_at=services.clock()))


async def hand_back(services: Services, user_id: int, job_id: UUID, number: int) -> None:
    """The worker with this number gives the job back undone, in good order: it does not count as taken up."""
    held = update(Row).where(Row.id == job_id, Row.state == "running", Row.attempts == number)
    values = {"state": "queued", "heartbeat_at": services.clock(), "attempts": Row.attempts - 1}
    async with services.database.session(user_id) as session:
        await session.execute(held.values(values))


async def take_back(services: Services, user_id: int, job_id: UUID, before: datetime.datetime) -> bool:
    """A job of which nothing was heard since then waits again. False: it does not.

    One whose workers died too often is given up: it may be what they die of.
    """
    silent = sqlalchemy.func.coalesce(Row.heartbeat_at, Row.started_at, Row.created_at) <= before
    changed = (
        update(Row)
        .where(Row.id == job_id, Row.state.in_(("queued", "running")), silent)
        .values(state="queued", heartbeat_at=services.clock())
        .returning(Row.attempts)
    )
    async with services.database.session(user_id) as session:
        deaths = await session.scalar(changed)
    if deaths is None:
        return False
    if deaths < MAX_DEATHS:
        return True
    problem = Problem(500, f"the process that worked at it died, {deaths} times", kind="worker-died")
    await fail(services, user_id, job_id, described(problem))
    return False


async def note(services: Services, user_id: int, job_id: UUID, progress: float, stage: str) -> None:
    """A worker says how far it is; so others know that it lives."""
    changed = (
        update(Row)
        .where(Row.id == job_id, Row.state == "running")
        .values(heartbeat_at=services.clock(), progress=progress, stage=stage)
    )
    async with services.database.session(user_id) as session:
        await session.execute(changed)


async def fail(services: Services, user_id: int, job_id: UUID, error: dict[str, Any]) -> None:
    """The end of a job that did not succeed."""
    changed = (
        update(Row)
        .where(Row.id == job_id, Row.state.not_in(ENDED))
        .values(state="failed", error=error, finished_at=services.clock())
        .returning(Row.file_id)
    )
    async with services.database.session(user_id) as session:
        ended = await session.scalar(changed)
        read = await _unread(session, job_id, error) if ended is not None else None
    await publish(services.redis, user_id, "jobs", {"id": job_id, "state": "failed", "error": error})
    if read is not None:
        news = {"id": read[0], "file_id": read[0], "change": "document", "state": read[1], "error": error}
        await publish(services.redis, user_id, "files", news)


async def _unread(session: AsyncSession, job_id: UUID, error: dict[str, Any]) -> tuple[UUID, str] | None:
    """Where it was the job that reads a document: say with the file why its text is not found, and what to do."""
    state = "needs_a_look" if error.get("status") == 422 else "failed"
    file_id = await session.scalar(
        update(Document).where(Document.job_id == job_id).values(error=error).returning(Document.file_id)
    )
    if file_id is None:
        return None
    await session.execute(
        update(FileRow)
        .where(FileRow.id == file_id, FileRow.document_state.in_(("waiting", "reading")))
        .values(document_state=state)
    )
    return file_id, state


def shown(row: Row) -> Job:
    """A row as clients see it."""
    return Job(
        id=row.id,
        kind=row.kind,
        state=row.state,  # type: ignore[arg-type] # the table's own check has the same values
        progress=row.progress,
        stage=row.stage,
        result=row.result,
        error=row.error,
        file_id=row.file_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def described(problem: Problem) -> dict[str, Any]:
    """A problem as a job keeps it (RFC 9457)."""
    return {
        "type": f"/problems/{problem.kind}" if problem.kind else "about:blank",
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
