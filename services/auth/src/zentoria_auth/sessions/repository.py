"""Sessions in the database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core import Session, User

MAX_LISTED = 200


async def add(session: AsyncSession, row: Session) -> None:
    """Keep a new one."""
    session.add(row)
    await session.flush()


def _live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (Session.ended_at.is_(None), Session.expires_at > now)


async def live_with_user(session: AsyncSession, sid: uuid.UUID, now: datetime) -> tuple[Session, User] | None:
    """A session that has not ended, with its user where that one is not disabled."""
    wanted = select(Session, User).join(User, User.id == Session.user_id)
    row = (
        await session.execute(wanted.where(Session.id == sid, User.disabled_at.is_(None), *_live(now)))
    ).one_or_none()
    return None if row is None else (row[0], row[1])


async def seen(session: AsyncSession, sid: uuid.UUID, now: datetime, ip: str | None, user_agent: str | None) -> None:
    """Note that it was used."""
    values: dict[str, object] = {"last_seen_at": now}
    if ip:
        values["ip_address"] = ip
    if user_agent:
        values["user_agent"] = user_agent
    await session.execute(update(Session).where(Session.id == sid).values(values))


async def authenticated(session: AsyncSession, sid: uuid.UUID, now: datetime) -> None:
    """Note that its user showed again who they are."""
    await session.execute(update(Session).where(Session.id == sid).values(authenticated_at=now))


async def end(
    session: AsyncSession,
    now: datetime,
    reason: str,
    *,
    sid: uuid.UUID | None = None,
    user_id: int | None = None,
    grant_id: uuid.UUID | None = None,
    but: uuid.UUID | None = None,
) -> list[tuple[uuid.UUID, int]]:
    """End sessions that have not ended, and return them with their users. One condition at least is given."""
    wanted: list[ColumnElement[bool]] = []
    if sid is not None:
        wanted.append(Session.id == sid)
    if user_id is not None:
        wanted.append(Session.user_id == user_id)
    if grant_id is not None:
        wanted.append(Session.grant_id == grant_id)
    if not wanted:
        raise ValueError("which sessions?")
    if but is not None:
        wanted.append(Session.id != but)
    ended = (
        update(Session)
        .where(*wanted, Session.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
        .returning(Session.id, Session.user_id)
    )
    return [(row[0], row[1]) for row in await session.execute(ended)]


async def listed(session: AsyncSession, user_id: int, now: datetime) -> Sequence[Session]:
    """A user's live sessions, the newest first."""
    wanted = select(Session).where(Session.user_id == user_id, *_live(now))
    return (await session.scalars(wanted.order_by(Session.created_at.desc(), Session.id).limit(MAX_LISTED))).all()
