"""Settings of the site: everybody reads them, an owner changes them."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem
from zentoria_common.statements import Statement
from zentoria_schema.core import Setting as Row

from zentoria_backend import etag, paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.approvals.service import canonical
from zentoria_backend.paging import Page
from zentoria_backend.services import Services
from zentoria_backend.site_settings.schemas import Setting

MAX_BYTES = 16 * 1024
MAX_SETTINGS = 1000
_ONE = Statement(sqlalchemy.select(*paging.columns_of(Row)).where(Row.user_id.is_(None), Row.key == bindparam("key")))


async def list_settings(services: Services, principal: Principal, limit: int, cursor: str | None) -> Page[Setting]:
    """By key.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, str)
    query = select(Row).where(Row.user_id.is_(None))
    if after is not None:
        query = query.where(Row.key > after[0])
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(query.order_by(Row.key).limit(limit + 1))).all()
    return paging.page(rows, limit, _shown, lambda row: (row.key,))


async def get_setting(services: Services, principal: Principal, key: str) -> Setting:
    """One of them.

    Raises:
        Problem: 404.
    """
    rows = await services.database.rows(_ONE, principal.user_id, key=key)
    if not rows:
        raise _unknown()
    return _shown(rows[0])


async def put_setting(
    services: Services, principal: Principal, key: str, value: Any, if_match: str | None
) -> tuple[Setting, bool]:
    """Set a value; also whether the setting is new.

    Raises:
        Problem: 409 for too many, 412 where ``if_match`` is not what is there, 422 for a value that is too long.
    """
    if len(canonical(value)) > MAX_BYTES:
        raise Problem(422, f"the value is longer than {MAX_BYTES} bytes")
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, key, lock=True)
        etag.require(if_match, row.revision if row else None)
        new = row is None
        if row is None:
            count = select(sqlalchemy.func.count()).where(Row.user_id.is_(None))
            if (await session.scalar(count) or 0) >= MAX_SETTINGS:
                raise Problem(409, f"there are {MAX_SETTINGS} settings already", kind="too-many-settings")
            row = Row(user_id=None, key=key, value=value, updated_by=principal.user_id)
            session.add(row)
        else:
            row.value, row.revision, row.updated_by = value, row.revision + 1, principal.user_id
        try:
            await session.flush()
        except sqlalchemy.exc.IntegrityError:
            raise Problem(409, "somebody set it at the same moment: read it again", kind="changed-meanwhile") from None
        await _note(services, principal, "settings.change", row, session)
    return _shown(row), new


async def delete_setting(services: Services, principal: Principal, key: str, if_match: str | None) -> None:
    """Remove it: its default holds again.

    Raises:
        Problem: 404, or 412 where ``if_match`` is not what is there.
    """
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, key, lock=True)
        if row is None:
            raise _unknown()
        etag.require(if_match, row.revision)
        await session.delete(row)
        await session.flush()
        await _note(services, principal, "settings.remove", row, session)


async def _row(session: AsyncSession, key: str, *, lock: bool = False) -> Row | None:
    query = select(Row).where(Row.user_id.is_(None), Row.key == key)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def _note(services: Services, principal: Principal, action: str, row: Row, session: AsyncSession) -> None:
    """The value itself stays out: the trail is for ever, and somebody may have put a password there."""
    details = {"revision": row.revision}
    await services.audit.record(
        principal, action, "setting", row.key, details=details, severity="notice", session=session
    )


def _unknown() -> Problem:
    return Problem(404, "there is no such setting")


def _shown(row: Row) -> Setting:
    return Setting(key=row.key, value=row.value, revision=row.revision, updated_at=row.updated_at)
