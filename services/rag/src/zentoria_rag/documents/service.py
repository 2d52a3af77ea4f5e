"""What is done with documents: read (a few at a time), shown, changed, deleted with proof."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from zentoria_common.problems import Unavailable

from zentoria_rag.documents.ingest import Event, Ingest
from zentoria_rag.documents.repository import Key, Repository
from zentoria_rag.documents.schemas import Deleted, DocumentInfo, Source
from zentoria_rag.index.model import Owner, VectorIndex
from zentoria_rag.models.space import Announced, Space

WAITING = 4
"""As many times the documents that are read may wait; whoever comes then is told to come again."""
RETRY_SECONDS = 5


class Documents:
    """Documents of everybody; each call is for one owner.

    Args:
        repository: the record.
        index: finds passages.
        announced: the models.
        ingest: reads.
        at_once: documents that are read at the same time.
    """

    def __init__(
        self, repository: Repository, index: VectorIndex, announced: Announced, ingest: Ingest, at_once: int
    ) -> None:
        self._repository, self._index, self._announced, self._ingest = repository, index, announced, ingest
        self._turn = asyncio.Semaphore(at_once)
        self._most = at_once * (1 + WAITING)
        self._inside = 0
        self._locks: dict[uuid.UUID, tuple[asyncio.Lock, int]] = {}

    async def read(self, key: Key, source: Source) -> AsyncGenerator[Event]:
        """Read a version; the last event is ``done`` or ``error``.

        Raises:
            Unavailable: too many are being read.
        """
        if self._inside >= self._most:
            raise Unavailable("rag", "as many documents as may wait are waiting", retry_after=RETRY_SECONDS)
        self._inside += 1
        try:
            # Two calls for one file are one after the other: the second finds what the first did.
            async with (
                self._alone(key.file_id),
                self._turn,
                contextlib.aclosing(self._ingest.events(key, source)) as events,
            ):
                async for event in events:
                    yield event
        finally:
            self._inside -= 1

    async def show(self, owner: Owner, file_id: uuid.UUID) -> DocumentInfo | None:
        """What is known of a file."""
        versions = await self._repository.versions(owner, file_id)
        return DocumentInfo(file_id=file_id, versions=versions) if versions else None

    async def change(self, owner: Owner, file_id: uuid.UUID, changes: Mapping[str, Any]) -> DocumentInfo | None:
        """Set what a file is filtered by."""
        if not await self._repository.change(owner, file_id, changes):
            return None
        spaces = await self._spaces(owner)
        for labels in await self._repository.labels(owner, file_id):
            for space in spaces:
                await self._index.label(owner, space, labels)
        return await self.show(owner, file_id)

    async def delete(self, owner: Owner, file_id: uuid.UUID) -> Deleted:
        """Remove every trace of a file. What reads it at the moment finds that it is gone, and ends.

        Raises:
            Unavailable: the database or the index does not answer: call again.
        """
        spaces = await self._spaces(owner)
        rows, vectors = await self._repository.delete(owner, file_id)
        left = 0
        for space in spaces:
            await self._index.remove(owner, space, file_id)
            left += await self._index.count(owner, space, file_id)
        return Deleted(rows=rows, vectors=vectors, left=left + await self._repository.left(owner, file_id))

    async def _spaces(self, owner: Owner) -> tuple[Space, ...]:
        await self._announced.announce()
        async with self._repository.database.session(owner.id) as session:
            return (await self._announced.spaces(session)).filled

    @contextlib.asynccontextmanager
    async def _alone(self, file_id: uuid.UUID) -> AsyncGenerator[None]:
        lock, users = self._locks.get(file_id, (asyncio.Lock(), 0))
        self._locks[file_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[file_id][1] - 1
            if users:
                self._locks[file_id] = (lock, users)
            else:
                del self._locks[file_id]
