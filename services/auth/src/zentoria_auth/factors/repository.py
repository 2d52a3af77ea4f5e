"""Second factors in the database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core import Passkey, RecoveryCode, TotpFactor, User


async def totp(session: AsyncSession, user_id: int) -> TotpFactor | None:
    """A user's authenticator app, confirmed or not."""
    return (await session.scalars(select(TotpFactor).where(TotpFactor.user_id == user_id))).one_or_none()


async def begin_totp(session: AsyncSession, user_id: int, secret: bytes, now: datetime) -> bool:
    """Keep a secret that is not confirmed yet; False where a confirmed one is there."""
    kept = insert(TotpFactor).values(user_id=user_id, secret=secret, created_at=now)
    made = kept.on_conflict_do_update(
        index_elements=[TotpFactor.user_id],
        set_={"secret": kept.excluded.secret, "created_at": now, "last_step": None},
        where=TotpFactor.confirmed_at.is_(None),
    ).returning(TotpFactor.id)
    return (await session.execute(made)).one_or_none() is not None


async def use_step(session: AsyncSession, user_id: int, step: int, *, confirm: datetime | None = None) -> bool:
    """Take a time step that is later than the last one taken, else False. With ``confirm``, confirm the app too."""
    values: dict[str, object] = {"last_step": step}
    if confirm is not None:
        values["confirmed_at"] = confirm
    taken = (
        update(TotpFactor)
        .where(
            TotpFactor.user_id == user_id,
            TotpFactor.confirmed_at.is_(None) if confirm is not None else TotpFactor.confirmed_at.is_not(None),
            or_(TotpFactor.last_step.is_(None), TotpFactor.last_step < step),
        )
        .values(values)
        .returning(TotpFactor.id)
    )
    return (await session.execute(taken)).one_or_none() is not None


async def remove_totp(session: AsyncSession, user_id: int) -> bool:
    """Forget a user's authenticator app; False where there was none that was confirmed."""
    gone = delete(TotpFactor).where(TotpFactor.user_id == user_id).returning(TotpFactor.confirmed_at)
    return any(moment is not None for moment in await session.scalars(gone))


async def use_code(session: AsyncSession, user_id: int, code_hash: str, now: datetime) -> bool:
    """Use a recovery code; False where it is none of the user's, or was used."""
    used = (
        update(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None))
        .values(used_at=now)
        .returning(RecoveryCode.id)
    )
    return (await session.execute(used)).first() is not None


async def codes_left(session: AsyncSession, user_id: int) -> int:
    """How many recovery codes are not used yet."""
    counted = select(func.count(RecoveryCode.id)).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return int(await session.scalar(counted) or 0)


async def replace_codes(session: AsyncSession, user_id: int, hashes: Sequence[str], now: datetime) -> None:
    """Forget all codes of a user, and keep these."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(user_id=user_id, code_hash=one, created_at=now) for one in hashes)
    await session.flush()


async def passkeys(session: AsyncSession, user_id: int) -> Sequence[Passkey]:
    """A user's passkeys, in the order in which they were added."""
    wanted = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created_at, Passkey.id)
    return (await session.scalars(wanted)).all()


async def passkey_by_credential(session: AsyncSession, credential_id: bytes) -> tuple[Passkey, User] | None:
    """A passkey with its user; its row is locked until the end of the transaction."""
    wanted = select(Passkey, User).join(User, User.id == Passkey.user_id)
    row = (
        await session.execute(wanted.where(Passkey.credential_id == credential_id).with_for_update(of=Passkey))
    ).one_or_none()
    return None if row is None else (row[0], row[1])


async def remove_passkey(session: AsyncSession, user_id: int, passkey_id: uuid.UUID) -> bool:
    """Forget a passkey; False where it is none of the user's."""
    gone = delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id).returning(Passkey.id)
    return (await session.execute(gone)).one_or_none() is not None


async def rename_passkey(session: AsyncSession, user_id: int, passkey_id: uuid.UUID, name: str) -> bool:
    """Give it another name; False where it is none of the user's."""
    renamed = (
        update(Passkey)
        .where(Passkey.id == passkey_id, Passkey.user_id == user_id)
        .values(name=name)
        .returning(Passkey.id)
    )
    return (await session.execute(renamed)).one_or_none() is not None


async def tidy(session: AsyncSession, user_id: int) -> None:
    """Forget recovery codes that stand in for nothing: those of a user who has no second factor any more."""
    has_totp = select(TotpFactor.id).where(TotpFactor.user_id == user_id, TotpFactor.confirmed_at.is_not(None)).exists()
    has_passkey = select(Passkey.id).where(Passkey.user_id == user_id).exists()
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id, ~has_totp, ~has_passkey))


async def remove_all(session: AsyncSession, user_id: int) -> None:
    """Forget every second factor of a user."""
    for model in (TotpFactor, Passkey, RecoveryCode):
        await session.execute(delete(model).where(model.user_id == user_id))
