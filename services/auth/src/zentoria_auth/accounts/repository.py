"""Accounts in the database."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import cast

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core import Passkey, RecoveryCode, TotpFactor, User

from zentoria_auth.accounts.schemas import Account, Me, Role

_FIRST_ACCOUNT_LOCK = 0x5A454E54_4F574E52
"""Key of an advisory lock of the transaction: two setup links at once make one owner."""


class EmailTaken(Exception):
    """There is an account with that address."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What sign-in has to know of an account.

    Args:
        id: the account's.
        email: its address, normalised.
        name: its owner's.
        role: ``owner`` or ``member``.
        handle: what passkeys know it by.
        password_hash: None where it has no password.
        disabled: nobody signs in to it.
        totp: an authenticator app is confirmed.
        passkeys: how many there are.
    """

    id: int
    email: str
    name: str
    role: str
    handle: bytes
    password_hash: str | None = dataclasses.field(repr=False)
    disabled: bool
    totp: bool
    passkeys: int

    @property
    def second_factor(self) -> bool:
        """A password alone is not enough."""
        return self.totp or self.passkeys > 0


_TOTP = select(TotpFactor.id).where(TotpFactor.user_id == User.id, TotpFactor.confirmed_at.is_not(None)).exists()
_PASSKEYS = select(func.count(Passkey.id)).where(Passkey.user_id == User.id).scalar_subquery()
_CODES = (
    select(func.count(RecoveryCode.id))
    .where(RecoveryCode.user_id == User.id, RecoveryCode.used_at.is_(None))
    .scalar_subquery()
)


async def find(session: AsyncSession, *, email: str | None = None, user_id: int | None = None) -> Candidate | None:
    """The account with that normalised address, or that id."""
    wanted = User.id == user_id if user_id is not None else func.lower(User.email) == email
    row = (await session.execute(select(User, _TOTP, _PASSKEYS).where(wanted))).one_or_none()
    if row is None:
        return None
    user, totp, passkeys = row
    return Candidate(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        handle=user.handle,
        password_hash=user.password_hash,
        disabled=user.disabled_at is not None,
        totp=totp,
        passkeys=passkeys,
    )


async def me(session: AsyncSession, user_id: int) -> Me | None:
    """An account as its person sees it."""
    row = (await session.execute(select(User, _TOTP, _PASSKEYS, _CODES).where(User.id == user_id))).one_or_none()
    if row is None:
        return None
    user, totp, passkeys, codes = row
    return Me(
        **shown(user).model_dump(),
        has_password=user.password_hash is not None,
        has_totp=totp,
        passkeys=passkeys,
        recovery_codes_left=codes,
    )


def shown(user: User) -> Account:
    """An account without anything secret."""
    return Account(
        id=user.id,
        email=user.email,
        name=user.name,
        role=cast("Role", user.role),
        created_at=user.created_at,
        last_login_at=user.last_login_at,
        disabled=user.disabled_at is not None,
    )


async def all_accounts(session: AsyncSession) -> list[Account]:
    """Every account, in the order in which they were made."""
    return [shown(user) for user in await session.scalars(select(User).order_by(User.id))]


async def create(
    session: AsyncSession, *, email: str, name: str, role: str, password_hash: str | None, now: datetime
) -> User:
    """Make an account.

    Raises:
        EmailTaken: there is one with that address.
    """
    user = User(
        email=email,
        name=name,
        role=role,
        password_hash=password_hash,
        password_changed_at=now if password_hash else None,
    )
    try:
        async with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise EmailTaken from None
    await session.refresh(user)
    return user


async def lock_first_account(session: AsyncSession) -> None:
    """Until the end of the transaction, nobody else makes the first account."""
    await session.execute(select(func.pg_advisory_xact_lock(_FIRST_ACCOUNT_LOCK)))


async def owner_exists(session: AsyncSession) -> bool:
    """Somebody owns this site. A disabled owner counts: a stranger with a link must not take over."""
    return bool(await session.scalar(select(select(User.id).where(User.role == "owner").exists())))


async def active_owners(session: AsyncSession) -> int:
    """How many owners can sign in."""
    counted = select(func.count(User.id)).where(User.role == "owner", User.disabled_at.is_(None))
    return int(await session.scalar(counted) or 0)


async def set_password(session: AsyncSession, user_id: int, password_hash: str, now: datetime) -> None:
    """Keep a new password's hash."""
    await session.execute(
        update(User)
        .where(User.id == user_id)
        .values(password_hash=password_hash, password_changed_at=now, must_change_password=False)
    )


async def rehash(session: AsyncSession, user_id: int, before: str, after: str) -> None:
    """Keep the same password's hash with today's parameters, unless the password was changed meanwhile."""
    await session.execute(
        update(User).where(User.id == user_id, User.password_hash == before).values(password_hash=after)
    )


async def set_name(session: AsyncSession, user_id: int, name: str) -> None:
    """Keep another name."""
    await session.execute(update(User).where(User.id == user_id).values(name=name))


async def set_disabled(session: AsyncSession, user_id: int, moment: datetime | None) -> None:
    """Disable an account, or enable it again (None)."""
    await session.execute(update(User).where(User.id == user_id).values(disabled_at=moment))


async def signed_in(session: AsyncSession, user_id: int, now: datetime) -> None:
    """Note when somebody signed in last."""
    await session.execute(update(User).where(User.id == user_id).values(last_login_at=now))


async def drop_password(session: AsyncSession, user_id: int) -> None:
    """Forget a password."""
    await session.execute(update(User).where(User.id == user_id).values(password_hash=None))
