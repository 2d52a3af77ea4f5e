"""Identities in the database."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core.accounts import Identity, User

from zentoria_auth.providers.claims import Claim


@dataclasses.dataclass(frozen=True)
class Linked:
    """An identity of a user."""

    id: uuid.UUID
    provider: str
    email: str | None
    created_at: datetime
    last_login_at: datetime | None


async def owner_of(session: AsyncSession, claim: Claim) -> int | None:
    """The account that has this identity; notes what is said of it now."""
    found: int | None = await session.scalar(
        update(Identity)
        .where(Identity.provider == claim.provider, Identity.issuer == claim.issuer, Identity.subject == claim.subject)
        .values(last_login_at=func.now(), email=claim.email, email_verified=claim.email_verified)
        .returning(Identity.user_id)
    )
    return found


async def account_of(session: AsyncSession, email: str) -> int | None:
    """The account with this address, as :func:`zentoria_auth.accounts.rules.normalise_email` writes it."""
    found: int | None = await session.scalar(
        select(User.id).where(func.lower(User.email) == email, User.disabled_at.is_(None))
    )
    return found


async def has_identity(session: AsyncSession, user_id: int, provider: str) -> bool:
    """Whether the account has an identity of this provider."""
    wanted = select(Identity.id).where(Identity.user_id == user_id, Identity.provider == provider)
    return bool(await session.scalar(select(wanted.exists())))


async def link(session: AsyncSession, user_id: int, claim: Claim) -> bool:
    """Give an account an identity; False where another account was quicker."""
    found = await session.scalar(
        insert(Identity)
        .values(
            id=uuid.uuid4(),
            user_id=user_id,
            provider=claim.provider,
            issuer=claim.issuer,
            subject=claim.subject,
            email=claim.email,
            email_verified=claim.email_verified,
            last_login_at=func.now(),
        )
        .on_conflict_do_nothing()
        .returning(Identity.id)
    )
    return found is not None


async def linked(session: AsyncSession, user_id: int) -> Sequence[Linked]:
    """The identities of an account, the oldest first."""
    rows = await session.scalars(
        select(Identity).where(Identity.user_id == user_id).order_by(Identity.created_at, Identity.id)
    )
    return [Linked(row.id, row.provider, row.email, row.created_at, row.last_login_at) for row in rows]


async def unlink(session: AsyncSession, user_id: int, identity: uuid.UUID) -> str | None:
    """Take an identity away from an account; returns its provider, or None where the account has no such."""
    found: str | None = await session.scalar(
        delete(Identity).where(Identity.id == identity, Identity.user_id == user_id).returning(Identity.provider)
    )
    return found
