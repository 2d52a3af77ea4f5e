"""Links in the database, as hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core import SetupLink


async def replace(session: AsyncSession, link: SetupLink) -> None:
    """Keep a link; older ones for the same are worth nothing any more."""
    older = delete(SetupLink).where(SetupLink.purpose == link.purpose, SetupLink.used_at.is_(None))
    older = older.where(SetupLink.user_id.is_(None) if link.user_id is None else SetupLink.user_id == link.user_id)
    await session.execute(older)
    session.add(link)
    await session.flush()


async def find(session: AsyncSession, token_hash: bytes, now: datetime) -> SetupLink | None:
    """The link with that hash, while it is good."""
    wanted = select(SetupLink).where(
        SetupLink.token_hash == token_hash, SetupLink.used_at.is_(None), SetupLink.expires_at > now
    )
    return (await session.scalars(wanted)).one_or_none()


async def use(session: AsyncSession, token_hash: bytes, now: datetime) -> SetupLink | None:
    """Use it up: of two at once, one gets it, and the other waits for the end of the first one's transaction."""
    used = (
        update(SetupLink)
        .where(SetupLink.token_hash == token_hash, SetupLink.used_at.is_(None), SetupLink.expires_at > now)
        .values(used_at=now)
        .returning(SetupLink)
    )
    return (await session.scalars(used)).one_or_none()
