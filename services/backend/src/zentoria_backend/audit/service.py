"""Reads the audit trail."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import sqlalchemy
from sqlalchemy import select
from zentoria_schema import audit_chain
from zentoria_schema.core import AuditEntry

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.audit.filters import Filters
from zentoria_backend.audit.schemas import Entry
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

BATCH = 500
"""Rows that an export reads at once: memory stays the same however long the trail is."""

LINE = audit_chain.LINE.replace(":", r"\:")
"""A row as :mod:`zentoria_schema.audit_chain` reads it, for ``sqlalchemy.text``: its colons begin no parameters."""

_EXPORT = sqlalchemy.text(
    f"SELECT id, {LINE} AS line FROM audit_log WHERE id > :after"  # noqa: S608 - a constant
    " AND (CAST(:user_id AS bigint) IS NULL OR user_id = :user_id) ORDER BY id LIMIT :most"
)


async def search(
    services: Services, principal: Principal, filters: Filters, limit: int, cursor: str | None
) -> Page[Entry]:
    """Rows that fit, the newest first: to an owner all, to others what they did themselves.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, int)
    query = filters.apply(select(AuditEntry))
    if principal.role != "owner":
        query = query.where(AuditEntry.user_id == principal.user_id)
    if after is not None:
        query = query.where(AuditEntry.id < after[0])
    query = query.order_by(AuditEntry.id.desc()).limit(limit + 1)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(query)).all()
    return paging.page(rows, limit, shown, lambda row: (row.id,))


async def export(services: Services, principal: Principal, after: int, most: int) -> AsyncGenerator[bytes]:
    """Lines of JSON, oldest first, from the row behind ``after`` on.

    Args:
        services: the application's.
        principal: an owner gets the whole chain, which ``zentoria audit verify`` checks; others their own rows.
        after: id of the last row that the caller has.
        most: rows at most.
    """
    whose = None if principal.role == "owner" else principal.user_id
    while most > 0:
        asked = min(BATCH, most)
        async with services.database.session(principal.user_id) as session:
            rows = (await session.execute(_EXPORT, {"after": after, "user_id": whose, "most": asked})).all()
        if rows:
            yield b"".join(f"{row.line}\n".encode() for row in rows)
            after = rows[-1].id
        most -= len(rows)
        if len(rows) < asked:
            return


def shown(row: AuditEntry) -> Entry:
    """A row as clients see it."""
    return Entry(
        id=row.id,
        timestamp=row.timestamp,
        user_id=row.user_id,
        action=row.action,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        ip_address=str(row.ip_address) if row.ip_address is not None else None,
        user_agent=row.user_agent,
        details=row.details,
        severity=row.severity,  # type: ignore[arg-type] # the database holds the same values
        actor=row.actor,
        request_id=row.request_id,
        prev_hash=bytes(row.prev_hash).hex(),
        hash=bytes(row.hash).hex(),
    )
