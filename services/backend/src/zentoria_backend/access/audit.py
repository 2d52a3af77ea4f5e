"""Writes the audit trail: every row through ``append_audit``, which chains them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.database import Database, ends_with
from zentoria_common.problems import Unavailable
from zentoria_common.statements import Statement

from zentoria_backend.access.context import current_client, request_id
from zentoria_backend.access.principal import Principal

Severity = Literal["info", "notice", "warning", "critical"]

MAX_WAITING = 10_000
"""Rows that wait for the database; more are refused, so that memory stays bounded."""
MAX_BATCH = 200
"""Rows of one transaction."""

_APPEND = Statement(sqlalchemy.text("SELECT append_audit_many(CAST(:entries AS jsonb))"))
_ENTRIES = "zentoria_audit"
"""Of a session: its rows."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row, before it is in the chain; the names are those of ``append_audit``'s parameters."""

    user_id: int | None
    action: str
    resource_type: str | None
    resource_id: str | None
    ip: str | None
    user_agent: str
    details: Mapping[str, Any]
    severity: Severity
    actor: str
    request_id: str | None


class Recorder:
    """Writes rows.

    The chain has one end, so that its writers wait for each other. Rows of requests that come at the same time
    therefore share a transaction, and each request waits until its row is committed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(
        self,
        principal: Principal | None,
        action: str,
        resource_type: str | None = None,
        resource_id: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        severity: Severity = "info",
        session: AsyncSession | None = None,
    ) -> None:
        """Write one row; address, user agent and request id are those of the request that this code runs for.

        Args:
            principal: who did it; None for somebody unknown.
            action: what, as ``keys.create``.
            resource_type: to what, as ``api_key``.
            resource_id: which one.
            details: JSON; no secrets, no contents.
            severity: how much it matters.
            session: a transaction whose change the row belongs to: both are committed, or neither; the row is written
                at its end. Without it, the row is committed when this returns.

        Raises:
            Unavailable: the database does not answer, or too many rows wait for it.
        """
        client = current_client()
        entry = Entry(
            user_id=principal.user_id if principal else None,
            action=action,
            resource_type=resource_type,
            resource_id=storable(resource_id[:255]) if resource_id else resource_id,
            ip=str(client.address) if client.address else None,
            user_agent=client.user_agent,
            details=storable(dict(details or {})),
            severity=severity,
            actor=principal.actor if principal else "anonymous",
            request_id=request_id(),
        )
        if session is not None:
            _with_commit(session, entry)
            return
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("database", "too many audit rows wait for the database")
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, committed))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="audit")
        await committed

    async def close(self) -> None:
        """Wait until what was given is written."""
        if self._writer is not None and not self._writer.done():
            await asyncio.wait({self._writer})

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            await self._keep(batch)

    async def _keep(self, batch: Sequence[tuple[Entry, asyncio.Future[None]]]) -> None:
        # who has left meanwhile (its request was cancelled) did what the row says all the same
        try:
            await self._database.rows(_APPEND, writes=True, entries=_json([entry for entry, _ in batch]))
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for one in batch:  # a row that the database refuses is the trouble of its own request alone
                    await self._keep([one])
                return
            for _, committed in batch:
                if not committed.done():
                    committed.set_exception(_as_outage(error))
        else:
            for _, committed in batch:
                if not committed.done():
                    committed.set_result(None)


def storable(value: Any) -> Any:
    """JSON that PostgreSQL can keep: NUL and halves of surrogate pairs, which its texts cannot hold, are replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {storable(name): storable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(each) for each in value]
    return value


def _as_outage(error: Exception) -> Exception:
    return Unavailable("database", "the audit trail cannot be written") if isinstance(error, Unavailable) else error


def _with_commit(session: AsyncSession, entry: Entry) -> None:
    entries: list[Entry] | None = session.info.get(_ENTRIES)
    if entries is None:
        entries = session.info[_ENTRIES] = []
        ends_with(session, lambda: (_APPEND, {"entries": _json(entries)}))
    entries.append(entry)


def _json(entries: Sequence[Entry]) -> str:
    return json.dumps([vars(entry) for entry in entries], separators=(",", ":"))
