"""Documents, passages and vectors in zentoria_vectors. Every statement names the owner; row-level security as well."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.database import Database

from zentoria_rag.chunking.language import STEMMERS
from zentoria_rag.documents.schemas import Chunk, PageInfo, Source, VersionInfo
from zentoria_rag.index.model import Labels, Owner, Point
from zentoria_rag.index.pgvector import literal
from zentoria_rag.models.space import Space

_NAMESPACE = uuid.UUID("5b0e8f0e-5a0b-4a7e-8a55-6d2f1c0a7c11")
"""Of the ids of passages, which are the same whenever a version is read."""
CHUNK = (
    "c.id, c.file_id, c.file_version, d.sha256, d.filename, d.mime, c.page, c.boxes, c.heading, c.text"
    " FROM document_chunks c JOIN documents d ON d.file_id = c.file_id AND d.file_version = c.file_version"
)
"""Columns of a :class:`Chunk`, and where they are."""


@dataclasses.dataclass(frozen=True)
class Key:
    """A version of somebody's file."""

    owner: Owner
    file_id: uuid.UUID
    version: int

    @property
    def values(self) -> dict[str, Any]:
        """For statements."""
        return {"owner": self.owner.id, "file": self.file_id, "version": self.version}


@dataclasses.dataclass(frozen=True)
class NewChunk:
    """A passage that was read."""

    index: int
    page: int | None
    heading: tuple[str, ...]
    boxes: Sequence[Sequence[float]]
    text: str
    language: str


@dataclasses.dataclass(frozen=True)
class Bare:
    """A passage that has no vector yet, as a model is given it."""

    chunk_id: uuid.UUID
    text: str


class Gone(Exception):
    """The document was deleted while it was read."""


class NotYours(Exception):
    """A file of that id belongs to somebody else."""


def chunk_id(file_id: uuid.UUID, version: int, index: int) -> uuid.UUID:
    """The id of a passage: the same for every model, and whenever the version is read."""
    return uuid.uuid5(_NAMESPACE, f"{file_id}/{version}/{index}")


def embedded_text(heading: Sequence[str], text: str) -> str:
    """What a model is given of a passage: the headings that it stands under tell what it is about."""
    path = " > ".join(one for one in heading if not text.startswith(one))
    return f"{path}\n{text}" if path else text


def chunk_of(row: Any) -> Chunk:
    """A passage of a row of :data:`CHUNK`."""
    return Chunk(
        chunk_id=row[0], file_id=row[1], version=row[2], sha256=row[3], filename=row[4], mime=row[5], page=row[6],
        boxes=row[7], heading=" > ".join(row[8]), text=row[9],
    )  # fmt: skip


class Repository:
    """The record.

    Args:
        database: zentoria_vectors.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def begin(self, key: Key, source: Source) -> VersionInfo:
        """Have a row for a version. One of other bytes is begun anew; labels are brought up to date.

        Raises:
            NotYours: see there.
        """
        made_at = source.created_at or datetime.datetime.now(datetime.UTC)
        if made_at.tzinfo is None:
            made_at = made_at.replace(tzinfo=datetime.UTC)
        values = key.values | {
            "sha256": source.sha256, "filename": source.filename, "mime": source.mime, "size": source.size,
            "project": source.project, "tags": source.tags, "made_at": made_at,
        }  # fmt: skip
        async with self.database.session(key.owner.id) as session:
            await session.execute(
                sqlalchemy.text(
                    "DELETE FROM documents WHERE file_id = :file AND file_version = :version AND user_id = :owner"
                    " AND sha256 <> :sha256"
                ),
                values,
            )
            await session.execute(
                sqlalchemy.text(
                    "INSERT INTO documents (file_id, file_version, user_id, sha256, filename, mime, size, project,"
                    " tags, made_at) VALUES (:file, :version, :owner, :sha256, :filename, :mime, :size, :project,"
                    " CAST(:tags AS text[]), :made_at) ON CONFLICT (file_id, file_version) DO NOTHING"
                ),
                values,
            )
            # Whoever does not own what is there changes nothing: row-level security hides it.
            await session.execute(
                sqlalchemy.text(
                    "UPDATE documents SET filename = :filename, mime = :mime, project = :project,"
                    " tags = CAST(:tags AS text[]), made_at = :made_at, updated_at = now(),"
                    " state = CASE WHEN state = 'failed' THEN 'reading' ELSE state END"
                    " WHERE file_id = :file AND file_version = :version AND user_id = :owner"
                ),
                values,
            )
            found = await self._versions(session, key.owner, key.file_id, key.version)
        if not found:
            raise NotYours
        return found[0]

    async def versions(self, owner: Owner, file_id: uuid.UUID) -> list[VersionInfo]:
        """What is known of a file, the newest version first; nothing: there is none."""
        async with self.database.session(owner.id) as session:
            return await self._versions(session, owner, file_id, None)

    async def twin(self, key: Key, sha256: str) -> tuple[uuid.UUID, int] | None:
        """Another file of the same owner with the same bytes that was read, the oldest one."""
        async with self.database.session(key.owner.id) as session:
            row = (
                await session.execute(
                    sqlalchemy.text(
                        "SELECT file_id, file_version FROM documents WHERE user_id = :owner AND sha256 = :sha256"
                        " AND state = 'ready' AND file_id <> :file ORDER BY created_at, file_id LIMIT 1"
                    ),
                    key.values | {"sha256": sha256},
                )
            ).first()
        return (row[0], row[1]) if row else None

    async def add(self, key: Key, chunks: Sequence[NewChunk]) -> None:
        """Keep passages. One of the same number and the same text stays, with its vectors.

        Raises:
            Gone: see there.
        """
        if not chunks:
            return
        rows = [
            key.values
            | {
                "id": chunk_id(key.file_id, key.version, one.index),
                "index": one.index,
                "page": one.page,
                "heading": list(one.heading),
                "boxes": json.dumps(one.boxes),
                "text": one.text,
                "language": one.language if one.language in STEMMERS else "simple",
                "words": embedded_text(one.heading, one.text),
            }
            for one in chunks
        ]
        statement = sqlalchemy.text(
            "INSERT INTO document_chunks (id, user_id, file_id, file_version, chunk_index, page, heading, boxes, text,"
            " language, words) VALUES (:id, :owner, :file, :version, :index, :page, CAST(:heading AS text[]),"
            " CAST(:boxes AS jsonb), :text, CAST(:language AS text),"
            " to_tsvector(CAST(CAST(:language AS text) AS regconfig), :words))"
            " ON CONFLICT (id) DO UPDATE SET page = excluded.page, heading = excluded.heading, boxes = excluded.boxes,"
            " text = excluded.text, language = excluded.language, words = excluded.words"
        )
        stale = sqlalchemy.text(
            "DELETE FROM document_embeddings e USING document_chunks c WHERE e.chunk_id = c.id AND c.id = :id"
            " AND c.user_id = :owner AND (c.text, c.heading) IS DISTINCT FROM (:text, CAST(:heading AS text[]))"
        )
        try:
            async with self.database.session(key.owner.id) as session:
                await session.execute(stale, rows)
                await session.execute(statement, rows)
        except sqlalchemy.exc.IntegrityError:
            raise Gone from None

    async def bare(self, key: Key, space: Space, limit: int) -> list[Bare]:
        """Passages of a version without a vector of this model, in order."""
        statement = sqlalchemy.text(
            "SELECT c.id, c.heading, c.text FROM document_chunks c WHERE c.file_id = :file"
            " AND c.file_version = :version AND c.user_id = :owner AND NOT EXISTS (SELECT FROM document_embeddings e"
            " WHERE e.chunk_id = c.id AND e.model = :model AND e.model_version = :mversion)"
            " ORDER BY c.chunk_index LIMIT :limit"
        )
        values = key.values | {"model": space.model, "mversion": space.version, "limit": limit}
        async with self.database.session(key.owner.id) as session:
            rows = (await session.execute(statement, values)).all()
        return [Bare(row[0], embedded_text(row[1], row[2])) for row in rows]

    async def vectors(self, owner: Owner, space: Space, points: Sequence[Point]) -> None:
        """Keep vectors of passages.

        Raises:
            Gone: the passages are not there any more.
            WrongSpace: a vector is of another model.
        """
        for point in points:
            space.check(point.vector)
        statement = sqlalchemy.text(
            "INSERT INTO document_embeddings (chunk_id, model, model_version, user_id, embedding)"
            " VALUES (:chunk, :model, :version, :owner, CAST(:vector AS vector)) ON CONFLICT DO NOTHING"
        )
        rows = [
            {"chunk": one.chunk_id, "model": space.model, "version": space.version, "owner": owner.id,
             "vector": literal(one.vector)}
            for one in points
        ]  # fmt: skip
        try:
            async with self.database.session(owner.id) as session:
                await session.execute(statement, rows)
        except sqlalchemy.exc.IntegrityError:
            raise Gone from None

    async def copy(self, key: Key, twin: tuple[uuid.UUID, int]) -> int:
        """Take the passages and vectors of another file with the same bytes; returns how many passages."""
        async with self.database.session(key.owner.id) as session:
            values = key.values | {"tfile": twin[0], "tversion": twin[1]}
            indexes = (
                await session.execute(
                    sqlalchemy.text(
                        "SELECT chunk_index, id FROM document_chunks WHERE file_id = :tfile"
                        " AND file_version = :tversion AND user_id = :owner ORDER BY chunk_index"
                    ),
                    values,
                )
            ).all()
            if not indexes:
                return 0
            pairs = [
                {"id": chunk_id(key.file_id, key.version, index), "other": other, **key.values}
                for index, other in indexes
            ]
            await session.execute(
                sqlalchemy.text(
                    "INSERT INTO document_chunks (id, user_id, file_id, file_version, chunk_index, page, heading,"
                    " boxes, text, language, words) SELECT :id, user_id, :file, :version, chunk_index, page, heading,"
                    " boxes, text, language, words FROM document_chunks WHERE id = :other AND user_id = :owner"
                    " ON CONFLICT DO NOTHING"
                ),
                pairs,
            )
            await session.execute(
                sqlalchemy.text(
                    "INSERT INTO document_embeddings (chunk_id, model, model_version, user_id, embedding)"
                    " SELECT :id, e.model, e.model_version, e.user_id, e.embedding FROM document_embeddings e"
                    " JOIN embedding_models m ON m.model = e.model AND m.version = e.model_version"
                    " WHERE e.chunk_id = :other AND e.user_id = :owner AND m.retired_at IS NULL ON CONFLICT DO NOTHING"
                ),
                pairs,
            )
            return len(indexes)

    async def finish(
        self,
        key: Key,
        *,
        pages: Sequence[PageInfo],
        chunks: int,
        title: str | None,
        language: str,
        outcome: Mapping[str, Any],
    ) -> bool:
        """Say that a version was read whole; if it is the newest that was, it is the one that is searched.

        Returns:
            Whether it is.

        Raises:
            Gone: see there.
        """
        values = key.values | {
            "pages": json.dumps([one.model_dump() for one in pages]), "chunks": chunks, "title": title,
            "language": language, "outcome": json.dumps(dict(outcome)),
        }  # fmt: skip
        async with self.database.session(key.owner.id) as session:
            await session.execute(
                sqlalchemy.text(
                    "DELETE FROM document_chunks WHERE file_id = :file AND file_version = :version"
                    " AND user_id = :owner AND chunk_index >= :chunks"
                ),
                values,
            )
            await session.execute(
                sqlalchemy.text(
                    "UPDATE documents SET current = false WHERE file_id = :file AND user_id = :owner AND current"
                    " AND file_version < :version"
                ),
                values,
            )
            row = (
                await session.execute(
                    sqlalchemy.text(
                        "UPDATE documents d SET state = 'ready', pages = CAST(:pages AS jsonb), title = :title,"
                        " language = :language, outcome = CAST(:outcome AS jsonb), updated_at = now(),"
                        " current = NOT EXISTS (SELECT FROM documents n WHERE n.file_id = d.file_id"
                        " AND n.user_id = d.user_id AND n.current AND n.file_version > d.file_version)"
                        " WHERE file_id = :file AND file_version = :version AND user_id = :owner RETURNING current"
                    ),
                    values,
                )
            ).first()
        if row is None:
            raise Gone
        return bool(row[0])

    async def fail(self, key: Key, outcome: Mapping[str, Any]) -> None:
        """Say that a version cannot be read."""
        async with self.database.session(key.owner.id) as session:
            await session.execute(
                sqlalchemy.text(
                    "UPDATE documents SET state = 'failed', current = false, outcome = CAST(:outcome AS jsonb),"
                    " updated_at = now() WHERE file_id = :file AND file_version = :version AND user_id = :owner"
                ),
                key.values | {"outcome": json.dumps(dict(outcome))},
            )

    async def points(self, key: Key, space: Space) -> list[Point]:
        """The vectors of a version, for an index."""
        statement = sqlalchemy.text(
            "SELECT e.chunk_id, e.embedding::text FROM document_embeddings e"
            " JOIN document_chunks c ON c.id = e.chunk_id WHERE c.file_id = :file AND c.file_version = :version"
            " AND e.user_id = :owner AND e.model = :model AND e.model_version = :mversion ORDER BY c.chunk_index"
        )
        async with self.database.session(key.owner.id) as session:
            rows = (
                await session.execute(statement, key.values | {"model": space.model, "mversion": space.version})
            ).all()
        return [Point(row[0], json.loads(row[1])) for row in rows]

    async def labels(self, owner: Owner, file_id: uuid.UUID | None = None) -> list[Labels]:
        """What the current documents are filtered by: of a file, or of all."""
        statement = sqlalchemy.text(
            "SELECT file_id, file_version, mime, project, tags, made_at FROM documents WHERE user_id = :owner"
            " AND current AND (CAST(:file AS uuid) IS NULL OR file_id = :file) ORDER BY file_id"
        )
        async with self.database.session(owner.id) as session:
            rows = (await session.execute(statement, {"owner": owner.id, "file": file_id})).all()
        return [Labels(row[0], row[1], row[2], row[3], tuple(row[4]), row[5]) for row in rows]

    async def change(self, owner: Owner, file_id: uuid.UUID, changes: Mapping[str, Any]) -> bool:
        """Set project or tags of all versions of a file; returns whether there is one."""
        parts = {"project": "project = :project", "tags": "tags = CAST(:tags AS text[])"}
        chosen = ", ".join([parts[name] for name in changes] + ["updated_at = now()"])
        statement = f"UPDATE documents SET {chosen} WHERE file_id = :file AND user_id = :owner RETURNING 1"  # noqa: S608 - of constants
        async with self.database.session(owner.id) as session:
            values = {"file": file_id, "owner": owner.id, **changes}
            return (await session.execute(sqlalchemy.text(statement), values)).first() is not None

    async def delete(self, owner: Owner, file_id: uuid.UUID) -> tuple[int, int]:
        """Remove all of a file; returns how many rows, and how many vectors among them."""
        values = {"file": file_id, "owner": owner.id}
        of_file = "chunk_id IN (SELECT id FROM document_chunks WHERE file_id = :file AND user_id = :owner)"
        async with self.database.session(owner.id) as session:
            # The documents first, locked: what is being written for them waits, and then finds nothing to belong to.
            await session.execute(
                sqlalchemy.text("SELECT 1 FROM documents WHERE file_id = :file AND user_id = :owner FOR UPDATE"), values
            )
            counts = []
            for statement in (
                f"DELETE FROM document_embeddings WHERE user_id = :owner AND {of_file}",  # noqa: S608 - constants
                "DELETE FROM document_chunks WHERE file_id = :file AND user_id = :owner",
                "DELETE FROM documents WHERE file_id = :file AND user_id = :owner",
            ):
                done: Any = await session.execute(sqlalchemy.text(statement), values)
                counts.append(int(done.rowcount))
        return sum(counts), counts[0]

    async def left(self, owner: Owner, file_id: uuid.UUID) -> int:
        """Rows that there are of a file."""
        statement = sqlalchemy.text(
            "SELECT (SELECT count(*) FROM documents WHERE file_id = :file AND user_id = :owner)"
            " + (SELECT count(*) FROM document_chunks WHERE file_id = :file AND user_id = :owner)"
            " + (SELECT count(*) FROM document_embeddings e JOIN document_chunks c ON c.id = e.chunk_id"
            " WHERE c.file_id = :file AND e.user_id = :owner)"
        )
        async with self.database.session(owner.id) as session:
            return int((await session.execute(statement, {"file": file_id, "owner": owner.id})).scalar_one())

    async def chunk(self, owner: Owner, which: uuid.UUID) -> Chunk | None:
        """A passage."""
        statement = sqlalchemy.text(f"SELECT {CHUNK} WHERE c.id = :id AND c.user_id = :owner")
        async with self.database.session(owner.id) as session:
            row = (await session.execute(statement, {"id": which, "owner": owner.id})).first()
        return chunk_of(row) if row else None

    async def _versions(
        self, session: AsyncSession, owner: Owner, file_id: uuid.UUID, version: int | None
    ) -> list[VersionInfo]:
        statement = sqlalchemy.text(
            "SELECT d.file_version, d.sha256, d.filename, d.mime, d.state, d.current, d.language, d.title, d.project,"
            " d.tags, d.pages, d.outcome, (SELECT count(*) FROM document_chunks c WHERE c.file_id = d.file_id"
            " AND c.file_version = d.file_version) FROM documents d WHERE d.file_id = :file AND d.user_id = :owner"
            " AND (CAST(:version AS integer) IS NULL OR d.file_version = :version) ORDER BY d.file_version DESC"
        )
        rows = await session.execute(statement, {"file": file_id, "owner": owner.id, "version": version})
        return [
            VersionInfo(
                version=row[0], sha256=row[1], filename=row[2], mime=row[3], state=row[4], current=row[5],
                language=row[6], title=row[7], project=row[8], tags=row[9], pages=row[10], outcome=row[11],
                chunks=row[12],
            )
            for row in rows.all()
        ]  # fmt: skip
