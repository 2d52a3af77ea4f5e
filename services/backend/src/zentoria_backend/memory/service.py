"""Memories: listed, kept, deleted."""

from __future__ import annotations

import datetime
from uuid import UUID

import sqlalchemy
from sqlalchemy import delete, func, select
from zentoria_common.problems import Problem
from zentoria_schema.core import Memory as Row

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.memory.schemas import Memory, NewMemory
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

MOST = 200
"""Of one user."""


async def list_memories(
    services: Services, principal: Principal, limit: int, cursor: str | None = None
) -> Page[Memory]:
    """The caller's, the newest first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, datetime.datetime, UUID)
    query = select(Row).where(Row.user_id == principal.user_id)
    if after is not None:
        query = query.where(sqlalchemy.tuple_(Row.created_at, Row.id) < after)
    query = query.order_by(Row.created_at.desc(), Row.id.desc()).limit(limit + 1)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(query)).all()
    return paging.page(rows, limit, _shown, lambda row: (row.created_at, str(row.id)))


async def get_memory(services: Services, principal: Principal, memory_id: UUID) -> Memory:
    """One of them.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == memory_id, Row.user_id == principal.user_id))
    if row is None:
        raise _none()
    return _shown(row)


async def add(services: Services, principal: Principal, new: NewMemory) -> Memory:
    """Keep something.

    Raises:
        Problem: 409, there are too many already.
    """
    count = select(func.count()).where(Row.user_id == principal.user_id)
    async with services.database.session(principal.user_id) as session:
        if (await session.scalar(count) or 0) >= MOST:
            raise Problem(409, f"there are {MOST} memories already: delete one first", kind="too-many-memories")
        row = Row(user_id=principal.user_id, text=new.text, source=principal.kind)
        session.add(row)
        await session.flush()
        await session.refresh(row)
        await services.audit.record(principal, "memory.add", "memory", str(row.id), session=session)
    return _shown(row)


async def remove(services: Services, principal: Principal, memory_id: UUID) -> None:
    """Delete one, for good.

    Raises:
        Problem: 404.
    """
    gone = delete(Row).where(Row.id == memory_id, Row.user_id == principal.user_id).returning(Row.id)
    async with services.database.session(principal.user_id) as session:
        if await session.scalar(gone) is None:
            raise _none()
        await services.audit.record(principal, "memory.delete", "memory", str(memory_id), session=session)


async def remove_all(services: Services, principal: Principal) -> int:
    """Delete all of the caller's; how many there were."""
    gone = delete(Row).where(Row.user_id == principal.user_id).returning(Row.id)
    async with services.database.session(principal.user_id) as session:
        count = len((await session.scalars(gone)).all())
        await services.audit.record(principal, "memory.delete_all", "memory", details={"count": count}, session=session)
    return count


def _none() -> Problem:
    return Problem(404, "there is no such memory")


def _shown(row: Row) -> Memory:
    return Memory.model_validate(row, from_attributes=True)
