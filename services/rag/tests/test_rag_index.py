"""What an index has to keep, whichever it is: the same contract for pgvector and for Qdrant."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient
from rag_kit import WordEngine, World
from zentoria_rag.documents.repository import Key, NewChunk, Repository, chunk_id
from zentoria_rag.documents.schemas import PageInfo, Source
from zentoria_rag.index.model import Filters, Labels, Owner, Point, Query, VectorIndex
from zentoria_rag.index.pgvector import PgVectorIndex
from zentoria_rag.index.qdrant import QdrantIndex
from zentoria_rag.models.space import Announced, Space, WrongSpace
from zentoria_rag.services import Services

pytestmark = [
    pytest.mark.asyncio,
    # in the process of a test it has no indexes of what is filtered by, and says so
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]
SPACE = Space("words", "1", 384)
OTHER = Space("words", "2", 16)
ADA, BOB = Owner(1), Owner(2)
NOW = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)
ENGINE = WordEngine()


@dataclasses.dataclass
class Library:
    """Writes documents into the record and then into the index, as an ingest does."""

    services: Services
    index: VectorIndex

    @property
    def repository(self) -> Repository:
        return self.services.repository

    async def write(
        self,
        owner: Owner,
        texts: Sequence[str],
        *,
        file_id: uuid.UUID | None = None,
        version: int = 1,
        spaces: Sequence[Space] = (SPACE,),
        mime: str = "application/pdf",
        project: str | None = None,
        tags: Sequence[str] = (),
        days: int = 0,
    ) -> uuid.UUID:
        file_id = file_id or uuid.uuid4()
        key = Key(owner, file_id, version)
        source = Source(
            bucket="documents", object_key="x", sha256=hashlib.sha256(str(key).encode()).hexdigest(), filename="x.pdf",
            mime=mime, size=1, project=project, tags=list(tags), created_at=NOW - datetime.timedelta(days=days),
        )  # fmt: skip
        await self.repository.begin(key, source)
        chunks = [NewChunk(number, 1, (), [], text, "english") for number, text in enumerate(texts)]
        await self.repository.add(key, chunks)
        for space in spaces:
            vectors = [WordEngine(space.dimension).vector(text) for text in texts]
            points = [Point(chunk_id(file_id, version, n), vector) for n, vector in enumerate(vectors)]
            await self.repository.vectors(owner, space, points)
        pages = [PageInfo(page=1, state="read", chunks=len(texts))]
        await self.repository.finish(key, pages=pages, chunks=len(texts), title=None, language="english", outcome={})
        (labels,) = await self.repository.labels(owner, file_id)
        for space in spaces:
            await self.index.put(owner, space, labels, await self.repository.points(key, space))
            await self.index.only(owner, space, file_id, version)
        return file_id

    async def search(self, owner: Owner, text: str, filters: Filters | None = None, limit: int = 5) -> list[str]:
        query = Query(owner, SPACE, ENGINE.vector(text), limit, filters or Filters())
        near = await self.index.search(query)
        assert [one.score for one in near] == sorted((one.score for one in near), reverse=True)
        chunks = [await self.repository.chunk(owner, one.chunk_id) for one in near]
        return [one.text for one in chunks if one is not None]


@pytest_asyncio.fixture(params=["pgvector", "qdrant"])
async def library(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Library]:
    with world.postgres.connect(world.database) as admin:
        admin.execute("truncate documents, chat_history_embeddings, embedding_models cascade")
    services = world.services()
    for space in (SPACE, OTHER):
        await Announced(services.database, space).announce()
    index: VectorIndex
    if request.param == "qdrant":
        index = QdrantIndex(AsyncQdrantClient(":memory:"))
    else:
        index = PgVectorIndex(services.database)
    assert index.kind == request.param
    await index.prepare(SPACE)
    yield Library(services, index)
    await index.close()
    await services.close()


async def test_the_nearest_come_first(library: Library) -> None:
    await library.write(ADA, ["dogs on a lead", "dogs and cats", "the price of bread"])
    assert await library.search(ADA, "dogs on a lead", limit=2) == ["dogs on a lead", "dogs and cats"]
    query = Query(ADA, SPACE, ENGINE.vector("dogs on a lead"), 1)
    assert (await library.index.search(query))[0].score == pytest.approx(1.0, abs=1e-3)


async def test_nobody_finds_anothers(library: Library) -> None:
    await library.write(ADA, ["dogs on a lead"])
    theirs = await library.write(BOB, ["dogs on a lead"])
    near = await library.index.search(Query(BOB, SPACE, ENGINE.vector("dogs on a lead"), 5))
    assert [one.chunk_id for one in near] == [chunk_id(theirs, 1, 0)]
    assert await library.index.count(ADA, SPACE) == 1
    assert await library.index.count(ADA, SPACE, theirs) == 0
    await library.index.remove(ADA, SPACE, theirs)
    assert await library.index.count(BOB, SPACE, theirs) == 1


@pytest.mark.parametrize("owner", [None, 0, -1, "1", 1.0, True])
async def test_a_search_without_an_owner_cannot_be_made(owner: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Query(owner, SPACE, ENGINE.vector("x"), 5)  # type: ignore[arg-type] # the mistake
    with pytest.raises(ValueError, match="user's number"):
        Owner(owner)  # type: ignore[arg-type] # the mistake
    with pytest.raises(TypeError):
        Query(space=SPACE, vector=ENGINE.vector("x"), limit=5)  # type: ignore[call-arg] # the mistake


async def test_every_filter_holds(library: Library) -> None:
    old = await library.write(ADA, ["dogs one"], project="house", tags=["a", "b"], days=40)
    new = await library.write(ADA, ["dogs two"], mime="text/plain", tags=["b"], days=1)
    week = NOW - datetime.timedelta(days=7)
    for filters, expected in [
        (Filters(), {"dogs one", "dogs two"}),
        (Filters(file_ids=(new,)), {"dogs two"}),
        (Filters(file_ids=(new, old)), {"dogs one", "dogs two"}),
        (Filters(file_ids=(uuid.uuid4(),)), set()),
        (Filters(project="house"), {"dogs one"}),
        (Filters(project="none"), set()),
        (Filters(mimes=("text/plain", "text/html")), {"dogs two"}),
        (Filters(tags=("b",)), {"dogs one", "dogs two"}),
        (Filters(tags=("a", "b")), {"dogs one"}),
        (Filters(since=week), {"dogs two"}),
        (Filters(until=week), {"dogs one"}),
        (Filters(since=NOW - datetime.timedelta(days=40), until=NOW - datetime.timedelta(days=1)), {"dogs one"}),
        (Filters(project="house", since=week), set()),
    ]:
        assert set(await library.search(ADA, "dogs", filters)) == expected, filters


async def test_labels_can_change(library: Library) -> None:
    file_id = await library.write(ADA, ["dogs one"], project="house", tags=["a"])
    await library.repository.change(ADA, file_id, {"project": "flat", "tags": ["z"]})
    (labels,) = await library.repository.labels(ADA, file_id)
    await library.index.label(ADA, SPACE, labels)
    assert await library.search(ADA, "dogs", Filters(project="house")) == []
    assert await library.search(ADA, "dogs", Filters(project="flat", tags=("z",))) == ["dogs one"]


async def test_of_a_file_the_newest_version_alone_is_found(library: Library) -> None:
    file_id = await library.write(ADA, ["dogs one", "dogs two"])
    await library.write(ADA, ["dogs three"], file_id=file_id, version=2)
    assert await library.search(ADA, "dogs") == ["dogs three"]
    assert await library.index.count(ADA, SPACE, file_id) == 1


async def test_what_is_removed_is_gone(library: Library) -> None:
    file_id = await library.write(ADA, ["dogs one", "dogs two"])
    await library.write(ADA, ["dogs three"])
    assert await library.index.count(ADA, SPACE, file_id) == 2
    await library.repository.delete(ADA, file_id)
    for _ in range(2):  # the second time does nothing
        await library.index.remove(ADA, SPACE, file_id)
    assert await library.index.count(ADA, SPACE, file_id) == 0
    assert await library.search(ADA, "dogs") == ["dogs three"]


async def test_to_put_the_same_again_changes_nothing(library: Library) -> None:
    file_id = await library.write(ADA, ["dogs one"])
    await library.write(ADA, ["dogs one"], file_id=file_id)
    assert await library.index.count(ADA, SPACE) == 1


async def test_a_vector_of_another_model_is_refused(library: Library) -> None:
    with pytest.raises(WrongSpace):
        Query(ADA, SPACE, [1.0, 2.0], 5)
    file_id = await library.write(ADA, ["dogs"])
    with pytest.raises(WrongSpace):
        await library.repository.vectors(ADA, SPACE, [Point(chunk_id(file_id, 1, 0), [0.5] * 16)])
    # and of a model that nobody announced
    stranger = Space("stranger", "1", 3)
    with pytest.raises(Exception, match=r"Gone|foreign key|"):
        await library.repository.vectors(ADA, stranger, [Point(chunk_id(file_id, 1, 0), [1.0, 0.0, 0.0])])
    assert await library.index.count(ADA, SPACE) == 1


async def test_models_lie_apart(library: Library) -> None:
    await library.index.prepare(OTHER)
    await library.write(ADA, ["dogs one"], spaces=(SPACE, OTHER))
    await library.write(ADA, ["dogs two"], spaces=(SPACE,))
    near = await library.index.search(Query(ADA, OTHER, WordEngine(16).vector("dogs"), 5))
    assert len(near) == 1
    assert len({SPACE.collection, OTHER.collection, Space("words", "1", 16).collection}) == 3


async def test_it_is_made_again_from_the_record(library: Library) -> None:
    file_id = await library.write(ADA, ["dogs one"])
    await library.index.drop(SPACE)
    await library.index.renew(SPACE)
    (labels,) = await library.repository.labels(ADA, file_id)
    points = await library.repository.points(Key(ADA, file_id, 1), SPACE)
    await library.index.put(ADA, SPACE, labels, points)
    assert await library.search(ADA, "dogs") == ["dogs one"]
    assert await library.index.files(SPACE) == ({(ADA, file_id)} if library.index.refilled else set())


async def test_many_passages_of_others_hide_none_of_mine(library: Library) -> None:
    await library.write(BOB, [f"dogs number {number}" for number in range(300)])
    mine = await library.write(ADA, ["dogs and birds", "something else entirely"])
    assert set(await library.search(ADA, "dogs number 7")) == {"dogs and birds", "something else entirely"}
    assert await library.index.count(ADA, SPACE, mine) == 2


async def test_labels_are_of_one_file() -> None:
    made = Labels(uuid.uuid4(), 1, "x", None, (), NOW)
    assert dataclasses.replace(made, version=2) != made
