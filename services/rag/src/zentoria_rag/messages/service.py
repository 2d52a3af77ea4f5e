"""Messages of conversations: kept with their vectors in the record, and found there by words and by meaning.

They are few beside passages: whatever the index of documents is, all of an owner's are compared here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy
from zentoria_common.database import Database
from zentoria_common.problems import Problem, Unavailable

from zentoria_rag.chunking.language import language_of
from zentoria_rag.chunking.split import Splitter
from zentoria_rag.index.model import Owner
from zentoria_rag.index.pgvector import literal
from zentoria_rag.messages.schemas import Forgotten, Message, MessageAnswer, MessageHit, MessageSearch, Stored
from zentoria_rag.models.embedder import Embedder, EngineFails
from zentoria_rag.models.space import Announced, Space, WrongSpace
from zentoria_rag.parsing.model import Page
from zentoria_rag.search import fusion
from zentoria_rag.settings import Settings

CANDIDATES = 30

_PUT = sqlalchemy.text(
    "INSERT INTO chat_history_embeddings (user_id, conversation_id, message_id, chunk_index, text, model,"
    " model_version, embedding, language, words) VALUES (:owner, :conversation, :message, :index,"
    " CAST(:text AS text), :model, :version, CAST(:vector AS vector), CAST(:language AS text),"
    " to_tsvector(CAST(CAST(:language AS text) AS regconfig), CAST(:text AS text)))"
    " ON CONFLICT (message_id, chunk_index, model, model_version) DO UPDATE SET text = excluded.text,"
    " embedding = excluded.embedding, language = excluded.language, words = excluded.words,"
    " conversation_id = excluded.conversation_id"
)
_WORDS = sqlalchemy.text(
    "WITH asked AS (SELECT DISTINCT language, CAST(replace(CAST(plainto_tsquery(CAST(language AS regconfig), :text)"
    " AS text), '&', '|') AS tsquery) AS query FROM chat_history_embeddings WHERE user_id = :owner)"
    " SELECT e.message_id, e.chunk_index, ts_rank_cd(e.words, a.query, 32) FROM chat_history_embeddings e"
    " JOIN asked a ON a.language = e.language AND e.words @@ a.query WHERE e.user_id = :owner AND e.model = :model"
    " AND e.model_version = :version AND (CAST(:conversation AS uuid) IS NULL OR e.conversation_id = :conversation)"
    " ORDER BY 3 DESC, 1, 2 LIMIT :limit"
)
_READ = sqlalchemy.text(
    "SELECT message_id, chunk_index, conversation_id, text FROM chat_history_embeddings"
    " WHERE user_id = :owner AND message_id = ANY(:ids) AND model = :model AND model_version = :version"
)


class Messages:
    """What was said.

    Args:
        settings: the service's.
        database: zentoria_vectors.
        announced: the models.
        embedder: makes vectors.
    """

    def __init__(self, settings: Settings, database: Database, announced: Announced, embedder: Embedder) -> None:
        self._settings, self._database = settings, database
        self._announced, self._embedder = announced, embedder

    async def put(self, owner: Owner, message_id: uuid.UUID, message: Message) -> Stored:
        """Keep a message, in place of what it was before.

        Raises:
            Unavailable: the engine or the database does not answer; nothing was changed.
        """
        await self._announced.announce()
        texts = await asyncio.to_thread(self._passages, message.text)
        spaces = await self._spaces(owner)
        language = language_of(message.text) or "simple"
        rows: list[dict[str, Any]] = []
        for space in spaces:
            for start in range(0, len(texts), self._settings.embedding_batch):
                batch = texts[start : start + self._settings.embedding_batch]
                vectors = await self._vectors(batch, space)
                rows += [
                    {"owner": owner.id, "conversation": message.conversation_id, "message": message_id,
                     "index": start + number, "text": text, "model": space.model, "version": space.version,
                     "vector": literal(vector), "language": language}
                    for number, (text, vector) in enumerate(zip(batch, vectors, strict=True))
                ]  # fmt: skip
        async with self._database.session(owner.id) as session:
            await session.execute(
                sqlalchemy.text(
                    "DELETE FROM chat_history_embeddings WHERE user_id = :owner AND message_id = :message"
                    " AND chunk_index >= :count"
                ),
                {"owner": owner.id, "message": message_id, "count": len(texts)},
            )
            if rows:
                try:
                    await session.execute(_PUT, rows)
                except sqlalchemy.exc.ProgrammingError:  # row-level security: the row that is there is another's
                    raise Problem(409, "a message of that id is not this user's", kind="not-yours") from None
        return Stored(passages=len(texts))

    async def forget(self, owner: Owner, conversation: uuid.UUID) -> Forgotten:
        """Remove all of a conversation."""
        values = {"owner": owner.id, "conversation": conversation}
        where = "FROM chat_history_embeddings WHERE user_id = :owner AND conversation_id = :conversation"
        async with self._database.session(owner.id) as session:
            done: Any = await session.execute(sqlalchemy.text(f"DELETE {where}"), values)
        async with self._database.session(owner.id) as session:
            left = (await session.execute(sqlalchemy.text(f"SELECT count(*) {where}"), values)).scalar_one()
        return Forgotten(rows=int(done.rowcount), left=int(left))

    async def search(self, owner: Owner, request: MessageSearch) -> MessageAnswer:
        """Find what was said."""
        await self._announced.announce()
        async with self._database.session(owner.id) as session:
            space = (await self._announced.spaces(session)).active
        without: list[str] = []
        vector: list[float] | None = None
        try:
            vector = await self._embedder.question(request.query, space)
        except (EngineFails, WrongSpace):
            without.append("meaning")
        values = {"owner": owner.id, "model": space.model, "version": space.version, "text": request.query,
                  "conversation": request.conversation_id, "limit": CANDIDATES}  # fmt: skip
        async with self._database.session(owner.id) as session:
            worded = {(row[0], row[1]): float(row[2]) for row in (await session.execute(_WORDS, values)).all()}
            near: dict[tuple[uuid.UUID, int], float] = {}
            if vector is not None:
                found = await session.execute(_near(space), {**values, "vector": literal(vector)})
                near = {(row[0], row[1]): float(row[2]) for row in found.all()}
            scores = fusion.fused(list(near), worded)
            chosen = list(scores)[: request.limit]
            rows = (await session.execute(_READ, {**values, "ids": [one[0] for one in chosen]})).all()
        texts = {(row[0], row[1]): (row[2], row[3]) for row in rows}
        hits = [
            MessageHit(
                message_id=one[0],
                conversation_id=texts[one][0],
                text=texts[one][1],
                score=round(scores[one], 4),
                words_score=round(worded.get(one, 0.0), 4),
                meaning_score=round(near.get(one, 0.0), 4),
            )
            for one in chosen
            if one in texts
        ]
        return MessageAnswer(hits=hits, without=without)

    def _passages(self, text: str) -> list[str]:
        settings = self._settings
        splitter = Splitter(str(settings.tokenizer_file or ""), settings.chunk_tokens, settings.chunk_overlap)
        return [one.text for one in splitter.chunks(Page(None, "read", text))]

    async def _spaces(self, owner: Owner) -> Sequence[Space]:
        async with self._database.session(owner.id) as session:
            return (await self._announced.spaces(session)).filled

    async def _vectors(self, texts: Sequence[str], space: Space) -> list[list[float]]:
        try:
            return await self._embedder.passages(texts, space)
        except (EngineFails, WrongSpace) as error:
            raise Unavailable("engine", str(error), retry_after=10) from None


def _near(space: Space) -> sqlalchemy.TextClause:
    size = int(space.dimension)
    distance = f"(embedding::vector({size})) <=> CAST(:vector AS vector({size}))"
    return sqlalchemy.text(
        f"SELECT message_id, chunk_index, 1 - ({distance}) FROM chat_history_embeddings"  # noqa: S608 - of constants and a number
        " WHERE user_id = :owner AND model = :model AND model_version = :version"
        " AND (CAST(:conversation AS uuid) IS NULL OR conversation_id = :conversation)"
        f" ORDER BY ({distance}) + 0 LIMIT :limit"
    )
