"""API keys: made, listed, revoked."""

from __future__ import annotations

import datetime
import hashlib
import secrets
import string
from uuid import UUID

import sqlalchemy
from sqlalchemy import select
from zentoria_common.problems import Problem
from zentoria_common.scopes import granted
from zentoria_schema.core import ApiKey

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.keys.schemas import Key, MadeKey, NewKey
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

MAX_KEYS = 200
"""Of one user, revoked and expired ones not counted."""
_LIST = paging.Listing(ApiKey, ApiKey.created_at)
_LETTERS = string.ascii_letters + string.digits


async def list_keys(services: Services, principal: Principal, limit: int, cursor: str | None) -> Page[Key]:
    """The caller's keys, the newest first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    now = services.clock()
    return await _LIST.page(services.database, principal.user_id, limit, cursor, lambda row: _shown(row, now))


async def get_key(services: Services, principal: Principal, key_id: UUID) -> Key:
    """One of the caller's keys.

    Raises:
        Problem: 404.
    """
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == principal.user_id)
    async with services.database.session(principal.user_id) as session:
        row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise no_key()
    return _shown(row, services.clock())


async def make_key(services: Services, principal: Principal, new: NewKey) -> MadeKey:
    """Make a key. It may do a part of what the caller's own credential may; a key's key ends with it at the latest.

    Raises:
        Problem: 403 for a scope or a time that the caller does not have, 409 for too many keys, 422 for an expiry in
            the past.
    """
    now = services.clock()
    asked = frozenset(new.scopes)
    if lacking := sorted(asked - granted(principal.role, principal.scopes)):  # type: ignore[arg-type] # owner or member
        said = f"a key can do no more than who makes it: not {', '.join(lacking)}"
        raise Problem(403, said, kind="scope-not-held", scopes=lacking)
    if new.expires_at is not None and new.expires_at <= now:
        raise Problem(422, "expires_at lies in the past")
    if principal.kind == "api_key" and principal.expires_at is not None:
        ends = datetime.datetime.fromtimestamp(principal.expires_at, datetime.UTC)
        if new.expires_at is None or new.expires_at > ends:
            raise Problem(
                403, f"a key that ends at {ends.isoformat()} makes none that ends later", kind="outlives-its-maker"
            )
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(8))
    text = f"zt_{prefix}_{secrets.token_urlsafe(32)}"
    row = ApiKey(
        user_id=principal.user_id,
        name=new.name,
        prefix=prefix,
        key_hash=hashlib.sha256(text.encode()).digest(),
        scopes=sorted(asked),
        expires_at=new.expires_at,
    )
    alive = select(sqlalchemy.func.count()).where(
        ApiKey.user_id == principal.user_id,
        ApiKey.revoked_at.is_(None),
        sqlalchemy.or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
    )
    async with services.database.session(principal.user_id) as session:
        if (await session.scalar(alive) or 0) >= MAX_KEYS:
            raise Problem(409, f"there are {MAX_KEYS} keys already: revoke one first", kind="too-many-keys")
        session.add(row)
        await session.flush()
        await session.refresh(row)
        await services.audit.record(
            principal,
            "keys.create",
            "api_key",
            str(row.id),
            details={"name": new.name, "prefix": prefix, "scopes": row.scopes},
            severity="notice",
            session=session,
        )
    return MadeKey(**_shown(row, now).model_dump(), key=text)


async def revoke_key(services: Services, principal: Principal, key_id: UUID) -> None:
    """Revoke a key, at once. A second time changes nothing.

    Raises:
        Problem: 404.
    """
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == principal.user_id).with_for_update()
    async with services.database.session(principal.user_id) as session:
        row = (await session.scalars(query)).one_or_none()
        if row is None:
            raise no_key()
        if row.revoked_at is None:
            row.revoked_at = services.clock()
            await session.flush()
            await services.audit.record(
                principal,
                "keys.revoke",
                "api_key",
                str(row.id),
                details={"name": row.name, "prefix": row.prefix},
                severity="notice",
                session=session,
            )
    await services.access.forget_keys()


def no_key() -> Problem:
    """404, for another user's key as well."""
    return Problem(404, "there is no such key")


def _shown(row: ApiKey, now: datetime.datetime) -> Key:
    expired = row.expires_at is not None and row.expires_at <= now
    return Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=list(row.scopes),
        state="revoked" if row.revoked_at else "expired" if expired else "active",
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
