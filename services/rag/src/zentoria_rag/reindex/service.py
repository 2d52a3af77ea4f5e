"""Blue and green: a new model is filled while the old one answers, and answers when it lacks nothing.

The same for the same model builds the index again. Killed at any moment and called again, it goes on: what has its
vector is not embedded again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession

from zentoria_rag.documents.ingest import fill
from zentoria_rag.documents.repository import Bare, embedded_text
from zentoria_rag.index.model import Owner, Point
from zentoria_rag.index.pgvector import literal
from zentoria_rag.models.space import Space
from zentoria_rag.services import Services

ROUNDS = 20
"""How often what came meanwhile is added before it is given up: somebody still writes for the old model alone."""

_BARE = sqlalchemy.text(
    "SELECT c.id, c.heading, c.text FROM document_chunks c WHERE c.user_id = :owner AND NOT EXISTS"
    " (SELECT FROM document_embeddings e WHERE e.chunk_id = c.id AND e.model = :model AND e.model_version = :version)"
    " ORDER BY c.id LIMIT :limit"
)
_UNSAID = sqlalchemy.text(
    "SELECT DISTINCT ON (h.message_id, h.chunk_index) h.message_id, h.chunk_index, h.conversation_id, h.text,"
    " h.language, h.created_at FROM chat_history_embeddings h WHERE h.user_id = :owner AND NOT EXISTS"
    " (SELECT FROM chat_history_embeddings e WHERE e.message_id = h.message_id AND e.chunk_index = h.chunk_index"
    " AND e.model = :model AND e.model_version = :version) ORDER BY h.message_id, h.chunk_index LIMIT :limit"
)
_SAY = sqlalchemy.text(
    "INSERT INTO chat_history_embeddings (user_id, conversation_id, message_id, chunk_index, text, language, words,"
    " created_at, model, model_version, embedding) VALUES (:owner, :conversation, :message, :index,"
    " CAST(:text AS text), CAST(:language AS text), to_tsvector(CAST(CAST(:language AS text) AS regconfig),"
    " CAST(:text AS text)), :created, :model, :version, CAST(:vector AS vector)) ON CONFLICT DO NOTHING"
)


class StillLacking(Exception):
    """The new model lacks passages, however often it was filled."""


@dataclasses.dataclass
class Done:
    """What came of it.

    Args:
        model: that answers now.
        before: the one that answered before.
        embedded: passages and messages that got their vector.
        indexed: passages that were put into an index with vectors of its own.
        removed: files that were in the index, and no more in the record.
        dropped: vectors of models that answer no more, which were removed.
    """

    model: str
    before: str
    embedded: int = 0
    indexed: int = 0
    removed: int = 0
    dropped: int = 0


async def reindex(services: Services, say: Callable[[str], None], *, drop: bool = False) -> Done:
    """Fill the settings' model, make its index anew, and let it answer.

    Args:
        services: with a database whose statements may take long.
        say: told how it goes on.
        drop: remove the vectors of models that answer no more.

    Raises:
        EngineFails: the engine does not give vectors.
        Unavailable: database or index do not answer.
        StillLacking: see there.
    """
    await services.announced.announce()
    target = services.announced.wanted
    async with services.database.session() as session:
        before = (await services.announced.spaces(session)).active
    done = Done(target.collection, before.collection)
    await services.index.prepare(target)
    for number in range(ROUNDS):
        for owner in await _owners(services):
            done.embedded += await _passages(services, owner, target, say)
            done.embedded += await _messages(services, owner, target)
        if not await _gap(services, target):
            break
        say(f"more came meanwhile: round {number + 2}")
    else:
        raise StillLacking(f"{target.model} lacks passages after {ROUNDS} rounds")
    say("the index is made")
    await services.index.renew(target)
    if services.index.refilled:
        there = await services.index.files(target)
        wanted: set[tuple[Owner, Any]] = set()
        for owner in await _owners(services):
            for labels in await services.repository.labels(owner):
                wanted.add((owner, labels.file_id))
                done.indexed += await fill(services.repository, services.index, owner, target, labels)
        for owner, file_id in there - wanted:
            await services.index.remove(owner, target, file_id)
            done.removed += 1
    if before != target:
        async with services.database.session() as session:
            await session.execute(
                sqlalchemy.text("SELECT activate_embedding_model(:model, :version)"),
                {"model": target.model, "version": target.version},
            )
        say(f"{target.collection} answers")
    if drop:
        done.dropped = await _drop(services, target, say)
    return done


async def _owners(services: Services) -> Sequence[Owner]:
    async with services.database.session() as session:
        return [Owner(row[0]) for row in (await session.execute(sqlalchemy.text("SELECT * FROM embedding_owners()")))]


async def _gap(services: Services, space: Space) -> int:
    async with services.database.session() as session:
        statement = sqlalchemy.text("SELECT embedding_gap(:model, :version)")
        found = await session.execute(statement, {"model": space.model, "version": space.version})
        return int(found.scalar_one())


async def _passages(services: Services, owner: Owner, space: Space, say: Callable[[str], None]) -> int:
    done = 0
    while rows := await _rows(services, owner, space, _BARE):
        bare = [Bare(row[0], embedded_text(row[1], row[2])) for row in rows]
        vectors = await services.embedder.passages([one.text for one in bare], space)
        points = [Point(one.chunk_id, vector) for one, vector in zip(bare, vectors, strict=True)]
        await services.repository.vectors(owner, space, points)
        done += len(points)
        if done // 1000 > (done - len(points)) // 1000:
            say(f"{done} passages of user {owner.id}")
    return done


async def _messages(services: Services, owner: Owner, space: Space) -> int:
    done = 0
    while rows := await _rows(services, owner, space, _UNSAID):
        vectors = await services.embedder.passages([row[3] for row in rows], space)
        values = [
            {"owner": owner.id, "message": row[0], "index": row[1], "conversation": row[2], "text": row[3],
             "language": row[4], "created": row[5], "model": space.model, "version": space.version,
             "vector": literal(vector)}
            for row, vector in zip(rows, vectors, strict=True)
        ]  # fmt: skip
        async with services.database.session(owner.id) as session:
            await session.execute(_SAY, values)
        done += len(rows)
    return done


async def _rows(services: Services, owner: Owner, space: Space, statement: sqlalchemy.TextClause) -> Sequence[Any]:
    values = {"owner": owner.id, "model": space.model, "version": space.version,
              "limit": services.settings.embedding_batch}  # fmt: skip
    async with services.database.session(owner.id) as session:
        return (await session.execute(statement, values)).all()


async def _drop(services: Services, target: Space, say: Callable[[str], None]) -> int:
    async with services.database.session() as session:
        old = await _retired(session)
    dropped = 0
    for owner in await _owners(services):
        for space in old:
            async with services.database.session(owner.id) as session:
                for table in ("document_embeddings", "chat_history_embeddings"):
                    statement = (
                        f"DELETE FROM {table} WHERE user_id = :owner AND model = :model"  # noqa: S608 - of two constants
                        " AND model_version = :version"
                    )
                    done: Any = await session.execute(
                        sqlalchemy.text(statement),
                        {"owner": owner.id, "model": space.model, "version": space.version},
                    )
                    dropped += int(done.rowcount)
    for space in old:
        if space != target:
            await services.index.drop(space)
            say(f"{space.collection} is gone")
    return dropped


async def _retired(session: AsyncSession) -> list[Space]:
    statement = "SELECT model, version, dimension FROM embedding_models WHERE retired_at IS NOT NULL"
    return [Space(row[0], row[1], row[2]) for row in (await session.execute(sqlalchemy.text(statement))).all()]
