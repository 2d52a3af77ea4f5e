"""What is known of a document's pages while it is read: written down from time to time, and told."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from zentoria_schema.core import Document, DocumentPage
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import Job as JobRow

from zentoria_backend.events import publish
from zentoria_backend.services import Services

FLUSH_SECONDS = 0.5
READ_STATES = {"read": "read", "empty": "empty", "unread": "unread", "failed": "failed"}
RECOGNISED_STATES = {"done": "recognised", "failed": "failed"}


class Gone(Exception):
    """The file was deleted while its text was read."""


class Progress:
    """Takes pages in as they come.

    Args:
        services: the gateway's.
        user_id: whose document it is.
        file_id: which one.
        job_id: that reads it.
        share: of the whole work that this step is, from where to where.
    """

    def __init__(
        self, services: Services, user_id: int, file_id: UUID, job_id: UUID, stage: str, share: tuple[float, float]
    ) -> None:
        self._services, self._user_id, self._file_id, self._job_id = services, user_id, file_id, job_id
        self._stage, self._share = stage, share
        self._rows: dict[int, dict[str, Any]] = {}
        self._page, self._pages = 0, 0
        self._flushed = 0.0

    async def page(self, number: int, pages: int | None, **values: Any) -> None:
        """One page has come so far.

        Raises:
            Gone: the file was deleted meanwhile.
        """
        if not 0 < number < 1_000_000:
            return
        self._rows[number] = {**self._rows.get(number, {}), **values}
        self._page, self._pages = number, max(pages or 0, self._pages)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            await self.flush()

    async def flush(self) -> None:
        """Write down what has come, and tell it.

        Raises:
            Gone: the file was deleted meanwhile.
        """
        self._flushed = time.monotonic()
        rows, self._rows = self._rows, {}
        low, high = self._share
        progress = low + (high - low) * min(1.0, self._page / self._pages if self._pages else 0.0)
        async with self._services.database.session(self._user_id) as session:
            alive = select(FileRow.id).where(FileRow.id == self._file_id, FileRow.deleted_at.is_(None))
            if await session.scalar(alive.with_for_update(read=True)) is None:
                raise Gone
            if rows:
                await session.execute(_upsert(self._user_id, self._file_id, rows))
            await session.execute(
                update(JobRow)
                .where(JobRow.id == self._job_id, JobRow.state == "running")
                .values(heartbeat_at=self._services.clock(), progress=progress, stage=self._stage)
            )
            if self._pages:
                await session.execute(
                    update(Document).where(Document.file_id == self._file_id).values(pages=self._pages)
                )
        await tell(self._services, self._user_id, self._file_id, "reading", page=self._page, pages=self._pages)


def _upsert(user_id: int, file_id: UUID, rows: dict[int, dict[str, Any]]) -> sqlalchemy.Executable:
    full = [
        {
            "file_id": file_id,
            "user_id": user_id,
            "number": number,
            "state": values.get("state", "waiting"),
            "chunks": values.get("chunks"),
            "engine": values.get("engine"),
            "confidence": values.get("confidence"),
        }
        for number, values in sorted(rows.items())
    ]
    statement = insert(DocumentPage).values(full)
    new = statement.excluded
    # A page that was recognised is read afterwards like any other; what is known of its recognition stays.
    recognised = sqlalchemy.and_(DocumentPage.state == "recognised", new.state == "read")
    lost = sqlalchemy.and_(DocumentPage.state == "failed", new.state.in_(("empty", "unread")))
    return statement.on_conflict_do_update(
        index_elements=[DocumentPage.file_id, DocumentPage.number],
        set_={
            "state": sqlalchemy.case((sqlalchemy.or_(recognised, lost), DocumentPage.state), else_=new.state),
            "chunks": func.coalesce(new.chunks, DocumentPage.chunks),
            "engine": func.coalesce(new.engine, DocumentPage.engine),
            "confidence": func.coalesce(new.confidence, DocumentPage.confidence),
            "updated_at": func.clock_timestamp(),
        },
    )


async def tell(services: Services, user_id: int, file_id: UUID, state: str, **more: Any) -> None:
    """Tell the user's open pages how far a document is."""
    news = {"id": str(file_id), "file_id": str(file_id), "change": "document", "state": state, **more}
    await publish(services.redis, user_id, "files", news)
