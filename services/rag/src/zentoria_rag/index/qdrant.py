"""Qdrant as the index: a collection a model (name, dimension, version), and in it the current version of each file."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from zentoria_common.problems import Unavailable

from zentoria_rag.index.model import Filters, Labels, Near, Owner, Point, Query
from zentoria_rag.models.space import Space

_KEYS = {
    "user_id": models.PayloadSchemaType.INTEGER,
    "file_id": models.PayloadSchemaType.KEYWORD,
    "project": models.PayloadSchemaType.KEYWORD,
    "mime": models.PayloadSchemaType.KEYWORD,
    "tags": models.PayloadSchemaType.KEYWORD,
    "made_at": models.PayloadSchemaType.DATETIME,
}
"""What is filtered by."""
SCROLL = 1000
_log = structlog.stdlib.get_logger("zentoria_rag.index")


class QdrantIndex:
    """See :class:`zentoria_rag.index.model.VectorIndex`.

    Args:
        client: of the server; in tests, one with no server (``:memory:``).
    """

    kind = "qdrant"
    refilled = True

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._there: set[str] = set()

    async def prepare(self, space: Space) -> None:
        """Make the collection, and indexes of what is filtered by."""
        if space.collection in self._there:
            return
        with _outages():
            if not await self._client.collection_exists(space.collection):
                size = models.VectorParams(size=space.dimension, distance=models.Distance.COSINE)
                await self._client.create_collection(space.collection, vectors_config=size)
                for key, kind in _KEYS.items():
                    await self._client.create_payload_index(space.collection, key, field_schema=kind)
        self._there.add(space.collection)

    async def put(self, owner: Owner, space: Space, labels: Labels, points: Sequence[Point]) -> None:
        """Keep passages; those that are there are replaced."""
        if not points:
            return
        await self.prepare(space)
        payload = {"user_id": owner.id, "version": labels.version, **_payload(labels)}
        found = [models.PointStruct(id=str(one.chunk_id), vector=one.vector, payload=payload) for one in points]
        with _outages():
            await self._client.upsert(space.collection, found, wait=True)

    async def only(self, owner: Owner, space: Space, file_id: uuid.UUID, version: int) -> None:
        """Remove the other versions' passages."""
        await self.prepare(space)
        whose = _of(owner, Filters(file_ids=(file_id,)))
        others = models.Filter(
            must=whose.must, must_not=[models.FieldCondition(key="version", match=models.MatchValue(value=version))]
        )
        with _outages():
            await self._client.delete(space.collection, models.FilterSelector(filter=others), wait=True)

    async def label(self, owner: Owner, space: Space, labels: Labels) -> None:
        """Overwrite what is filtered by."""
        await self.prepare(space)
        with _outages():
            await self._client.set_payload(
                space.collection, _payload(labels), points=_of(owner, Filters(file_ids=(labels.file_id,))), wait=True
            )

    async def remove(self, owner: Owner, space: Space, file_id: uuid.UUID) -> None:
        """Remove a file's passages."""
        await self.prepare(space)
        selector = models.FilterSelector(filter=_of(owner, Filters(file_ids=(file_id,))))
        with _outages():
            await self._client.delete(space.collection, selector, wait=True)

    async def search(self, query: Query) -> list[Near]:
        """Search."""
        await self.prepare(query.space)
        with _outages():
            found = await self._client.query_points(
                query.space.collection,
                query=query.vector,
                query_filter=_of(query.owner, query.filters),
                limit=query.limit,
                with_payload=False,
            )
        return [Near(uuid.UUID(str(one.id)), float(one.score)) for one in found.points]

    async def count(self, owner: Owner, space: Space, file_id: uuid.UUID | None = None) -> int:
        """Count exactly."""
        await self.prepare(space)
        whose = _of(owner, Filters(file_ids=(file_id,) if file_id is not None else ()))
        with _outages():
            return (await self._client.count(space.collection, count_filter=whose, exact=True)).count

    async def renew(self, space: Space) -> None:
        """Have the collection, also if somebody removed it meanwhile."""
        self._there.discard(space.collection)
        await self.prepare(space)

    async def files(self, space: Space) -> set[tuple[Owner, uuid.UUID]]:
        """Go through the collection."""
        await self.prepare(space)
        found: set[tuple[Owner, uuid.UUID]] = set()
        offset: Any = None
        while True:
            with _outages():
                points, offset = await self._client.scroll(
                    space.collection, limit=SCROLL, offset=offset, with_payload=["user_id", "file_id"]
                )
            payloads = [one.payload or {} for one in points]
            found |= {(Owner(int(one["user_id"])), uuid.UUID(one["file_id"])) for one in payloads}
            if offset is None:
                return found

    async def drop(self, space: Space) -> None:
        """Remove the collection."""
        with _outages():
            await self._client.delete_collection(space.collection)
        self._there.discard(space.collection)

    async def close(self) -> None:
        """End connections."""
        await self._client.close()


def open_qdrant(url: str, timeout: float) -> QdrantIndex:
    """The index at a server; nothing connects before it is used."""
    client = AsyncQdrantClient(url=url, timeout=max(1, round(timeout)), check_compatibility=False, trust_env=False)
    return QdrantIndex(client)


def _of(owner: Owner, filters: Filters) -> models.Filter:
    """The condition that every question has, and the others."""
    must: list[Any] = [models.FieldCondition(key="user_id", match=models.MatchValue(value=owner.id))]
    if filters.file_ids:
        ids = [str(one) for one in filters.file_ids]
        must.append(models.FieldCondition(key="file_id", match=models.MatchAny(any=ids)))
    if filters.project is not None:
        must.append(models.FieldCondition(key="project", match=models.MatchValue(value=filters.project)))
    if filters.mimes:
        must.append(models.FieldCondition(key="mime", match=models.MatchAny(any=list(filters.mimes))))
    must.extend(models.FieldCondition(key="tags", match=models.MatchValue(value=tag)) for tag in filters.tags)
    if filters.since is not None or filters.until is not None:
        span = models.DatetimeRange(gte=filters.since, lt=filters.until)
        must.append(models.FieldCondition(key="made_at", range=span))
    return models.Filter(must=must)


def _payload(labels: Labels) -> dict[str, Any]:
    return {
        "file_id": str(labels.file_id),
        "mime": labels.mime,
        "project": labels.project,
        "tags": list(labels.tags),
        "made_at": labels.made_at.isoformat(),
    }


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code is not None and error.status_code < 500:
            raise
        raise _away(error) from error
    except (ResponseHandlingException, ApiException) as error:
        raise _away(error) from error


def _away(error: Exception) -> Unavailable:
    _log.warning("index fails", error_type=type(error).__qualname__)
    return Unavailable("qdrant", "the search index does not answer at the moment")
