"""The record's own HNSW index (pgvector): what is written to the record is found at once.

HNSW does not find everything: a passage that is like no other may have no way to it in the graph, and filters leave out
what was found. Of an owner with few passages all are compared, which takes some ten milliseconds, and is exact.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy
from zentoria_common.database import Database

from zentoria_rag.index.conditions import conditions
from zentoria_rag.index.model import Labels, Near, Owner, Point, Query
from zentoria_rag.models.space import Space

EXACT = 20_000
"""Passages of an owner up to which all of them are compared."""


def literal(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(format(value, ".7g") for value in vector) + "]"


class PgVectorIndex:
    """See :class:`zentoria_rag.index.model.VectorIndex`.

    Args:
        database: zentoria_vectors. Row-level security holds the owner there once more.
    """

    kind = "pgvector"
    refilled = False

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self, space: Space) -> None:
        """The announcement of a model made its index."""

    async def put(self, owner: Owner, space: Space, labels: Labels, points: Sequence[Point]) -> None:
        """They are in the record."""

    async def only(self, owner: Owner, space: Space, file_id: uuid.UUID, version: int) -> None:
        """The record says which version is current."""

    async def label(self, owner: Owner, space: Space, labels: Labels) -> None:
        """The record has the labels."""

    async def remove(self, owner: Owner, space: Space, file_id: uuid.UUID) -> None:
        """They are gone from the record."""

    async def search(self, query: Query) -> list[Near]:
        """Search, exactly where the owner has few passages; else the index goes on until there are enough."""
        size = int(query.space.dimension)
        where, values = conditions(query.filters)
        distance = f"(e.embedding::vector({size})) <=> CAST(:vector AS vector({size}))"
        few = sqlalchemy.text(
            "SELECT count(*) FROM (SELECT 1 FROM document_embeddings WHERE user_id = :owner LIMIT :n) n"
        )
        async with self._database.session(query.owner.id) as session:
            counted = await session.execute(few, {"owner": query.owner.id, "n": EXACT + 1})
            exact = int(counted.scalar_one()) <= EXACT
        order = f"({distance}) + 0" if exact else distance  # a sum is nothing that the index knows
        statement = sqlalchemy.text(
            f"SELECT e.chunk_id, 1 - ({distance}) FROM document_embeddings e"  # noqa: S608 - of constants and a number
            " JOIN document_chunks c ON c.id = e.chunk_id"
            " JOIN documents d ON d.file_id = c.file_id AND d.file_version = c.file_version"
            " WHERE e.user_id = :owner AND e.model = :model AND e.model_version = :version"
            f" AND d.current AND d.user_id = :owner{where} ORDER BY {order} LIMIT :limit"
        )
        values |= {
            "owner": query.owner.id,
            "model": query.space.model,
            "version": query.space.version,
            "vector": literal(query.vector),
            "limit": query.limit,
        }
        async with self._database.session(query.owner.id) as session:
            await session.execute(sqlalchemy.text("SET LOCAL hnsw.iterative_scan = 'relaxed_order'"))
            rows = (await session.execute(statement, values)).all()
        # In strict order pgvector leaves out what it comes upon too late; sorting is ours then.
        return sorted((Near(row[0], float(row[1])) for row in rows), key=lambda one: -one.score)

    async def count(self, owner: Owner, space: Space, file_id: uuid.UUID | None = None) -> int:
        """Count the record's rows of current documents."""
        statement = sqlalchemy.text(
            "SELECT count(*) FROM document_embeddings e JOIN document_chunks c ON c.id = e.chunk_id"
            " JOIN documents d ON d.file_id = c.file_id AND d.file_version = c.file_version"
            " WHERE e.user_id = :owner AND e.model = :model AND e.model_version = :version AND d.current"
            " AND (CAST(:file AS uuid) IS NULL OR c.file_id = :file)"
        )
        values = {"owner": owner.id, "model": space.model, "version": space.version, "file": file_id}
        async with self._database.session(owner.id) as session:
            return int((await session.execute(statement, values)).scalar_one())

    async def renew(self, space: Space) -> None:
        """Build the index again, beside the old one."""
        async with self._database.session() as session:
            statement = sqlalchemy.text("SELECT rebuild_embedding_index(:model, :version)")
            await session.execute(statement, {"model": space.model, "version": space.version})

    async def files(self, space: Space) -> set[tuple[Owner, uuid.UUID]]:
        """None of its own."""
        return set()

    async def drop(self, space: Space) -> None:
        """Rows of a retired model go with the record's."""

    async def close(self) -> None:
        """The database is closed by who opened it."""
