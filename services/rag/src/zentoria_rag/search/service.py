"""A question to passages: understood, asked by words and by meaning, fused, varied, judged."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy
from zentoria_common.problems import Problem, Unavailable

from zentoria_rag.documents.repository import CHUNK, Repository, chunk_of
from zentoria_rag.documents.schemas import Chunk
from zentoria_rag.index.model import Filters, Near, Owner, Query, VectorIndex
from zentoria_rag.models.embedder import Embedder, EngineFails
from zentoria_rag.models.space import Announced, Space, WrongSpace
from zentoria_rag.search import dates, followup, fusion, words
from zentoria_rag.search.schemas import Hit, SearchAnswer, SearchRequest
from zentoria_rag.search.support import Support
from zentoria_rag.search.words import Worded

CANDIDATES = 40
"""That each way gives, before they are one."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question as it is searched."""

    text: str
    filters: Filters
    understood: dict[str, Any]


def asked(request: SearchRequest, now: datetime.datetime) -> Asked:
    """What is searched, and for what it was taken. What the caller says of times wins over the words. Pure."""
    wish = request.filters
    filters = Filters(
        tuple(wish.file_ids), wish.project, tuple(wish.mimes), tuple(wish.tags), _aware(wish.since), _aware(wish.until)
    )
    text, understood = request.query, dict[str, Any]()
    span = dates.understood(text, _aware(request.now) or now)
    if span is not None and wish.since is None and wish.until is None:
        filters = dataclasses.replace(filters, since=span.since, until=span.until)
        understood = {
            "since": span.since.isoformat() if span.since else None,
            "until": span.until.isoformat() if span.until else None,
            "text": text[span.start : span.end],
            "span": [span.start, span.end],
        }
        text = dates.without(text, span)
    whole = followup.rewritten(text, request.conversation)
    if whole != request.query:
        understood["query"] = whole
    return Asked(whole, filters, understood)


def _aware(when: datetime.datetime | None) -> datetime.datetime | None:
    """A time without a zone is meant in UTC."""
    return when.replace(tzinfo=datetime.UTC) if when is not None and when.tzinfo is None else when


_READ = sqlalchemy.text(f"SELECT {CHUNK} WHERE c.id = ANY(:ids) AND c.user_id = :owner AND d.current")


class Search:
    """Answers questions.

    Args:
        repository: the record.
        index: finds by meaning.
        embedder: gives a question its vector.
        announced: the models.
        support: judges.
        clock: the time, with its zone.
    """

    def __init__(
        self,
        repository: Repository,
        index: VectorIndex,
        embedder: Embedder,
        announced: Announced,
        support: Support,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._repository, self._index, self._embedder = repository, index, embedder
        self._announced, self._support, self._clock = announced, support, clock

    async def answer(self, owner: Owner, request: SearchRequest) -> SearchAnswer:
        """The best passages of ``owner``'s documents.

        Raises:
            Problem: 503, what was asked for cannot be asked now.
        """
        question = asked(request, self._clock())
        answer = await self._found(owner, request, question)
        if not answer.hits and question.understood.get("span"):
            # Nothing was made then: the time may have been meant of the content.
            wide = dataclasses.replace(question.filters, since=None, until=None)
            kept = {"query": question.understood.get("query"), "ignored": question.understood["text"]}
            understood = {name: value for name, value in kept.items() if value}
            whole = followup.rewritten(request.query, request.conversation)
            return await self._found(owner, request, Asked(whole, wide, understood))
        return answer

    async def _found(self, owner: Owner, request: SearchRequest, question: Asked) -> SearchAnswer:
        without: list[str] = []
        near: list[Near] = []
        worded: list[Worded] = []
        space: Space | None = None
        if request.mode != "words":
            try:
                space, near = await self._near(owner, question)
            except (EngineFails, WrongSpace, Unavailable) as error:
                if request.mode == "meaning" or (isinstance(error, Unavailable) and error.service == "database"):
                    raise self._away(error) from None
                without.append("meaning")
        if request.mode != "meaning":
            database = self._repository.database
            worded = await words.search(database, owner, question.text, question.filters, CANDIDATES)
        by_meaning = {one.chunk_id: one.score for one in near}
        by_words = {one.chunk_id: one.score for one in worded}
        scores = fusion.fused(list(by_meaning), by_words)
        first = dict(list(scores.items())[:CANDIDATES])
        chunks, vectors = await self._read(owner, list(first), space)
        first = {one: score for one, score in first.items() if one in chunks}
        chosen = fusion.varied(first, vectors, request.limit)
        hits = [
            Hit(
                **chunks[one].model_dump(),
                score=round(scores[one], 4),
                words_score=round(by_words.get(one, 0.0), 4),
                meaning_score=round(by_meaning.get(one, 0.0), 4),
            )
            for one in chosen
        ]
        best = max((self._support.score(one.words_score, one.meaning_score, space is not None) for one in hits),
                   default=0.0)  # fmt: skip
        return SearchAnswer(
            hits=hits,
            understood=question.understood,
            best=round(best, 4),
            supported=bool(hits) and best >= self._support.bound,
            without=without,
        )

    async def _near(self, owner: Owner, question: Asked) -> tuple[Space, list[Near]]:
        await self._announced.announce()
        async with self._repository.database.session(owner.id) as session:
            space = (await self._announced.spaces(session)).active
        vector = await self._embedder.question(question.text, space)
        return space, await self._index.search(Query(owner, space, vector, CANDIDATES, question.filters))

    async def _read(
        self, owner: Owner, ids: Sequence[uuid.UUID], space: Space | None
    ) -> tuple[Mapping[uuid.UUID, Chunk], Mapping[uuid.UUID, list[float]]]:
        """Passages by their ids, and their vectors; the record says again whose they are, and that they are current."""
        if not ids:
            return {}, {}
        values = {"ids": list(ids), "owner": owner.id}
        async with self._repository.database.session(owner.id) as session:
            statement = f"SELECT {CHUNK} WHERE c.id = ANY(:ids) AND c.user_id = :owner AND d.current"
            rows = (await session.execute(sqlalchemy.text(statement), values)).all()
            vectors: dict[uuid.UUID, str] = {}
            if space is not None:
                found = await session.execute(
                    sqlalchemy.text(
                        "SELECT chunk_id, embedding::text FROM document_embeddings WHERE chunk_id = ANY(:ids)"
                        " AND user_id = :owner AND model = :model AND model_version = :version"
                    ),
                    {**values, "model": space.model, "version": space.version},
                )
                vectors = {row[0]: row[1] for row in found.all()}
        # Up to forty lists of numbers: not in the loop that others wait for.
        parsed = await asyncio.to_thread(lambda: {one: json.loads(text) for one, text in vectors.items()})
        return {row[0]: chunk_of(row) for row in rows}, parsed

    @staticmethod
    def _away(error: Exception) -> Problem:
        if isinstance(error, Problem):
            return error
        return Unavailable("engine", str(error), retry_after=10)
