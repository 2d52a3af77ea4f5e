"""A new model beside the one that answers; the index made again from the record; what is refused meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
import rag_documents as made
from qdrant_client import AsyncQdrantClient
from rag_kit import Client, WordEngine, World
from zentoria_common.engine import EngineAway
from zentoria_rag.index.model import Owner
from zentoria_rag.index.qdrant import QdrantIndex
from zentoria_rag.models.embedder import EngineFails
from zentoria_rag.models.space import Space
from zentoria_rag.reindex.service import reindex

pytestmark = [
    pytest.mark.asyncio,
    # in the process of a test it has no indexes of what is filtered by, and says so
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]
NEW = {"embedding_model": "other", "embedding_version": "1", "embedding_dimension": 64}
PETS = ["# Pets", "Dogs are allowed in the garden when they are on a lead."]
RENT = ["# Rent", "The rent of the flat in Graz is 812 euros a month."]


class Engines(WordEngine):
    """An engine with two models."""

    sizes = {"bge-small-en-v1.5": 384, "other": 64}  # noqa: RUF012 - a constant of a test

    async def embed(self, texts: object, model: str) -> list[list[float]]:
        if model not in self.sizes:
            raise EngineAway(f"there is no {model}")
        found = await super().embed(texts, model)  # type: ignore[arg-type] # a sequence of texts
        return [vector[: self.sizes[model]] for vector in found] if self.sizes[model] < self.dimension else found


@pytest_asyncio.fixture
async def two(world: World, client: Client) -> AsyncIterator[Client]:
    world.engine = Engines()
    async with world.client() as made_client:
        yield made_client


async def test_a_new_model_is_filled_while_the_old_one_answers_and_then_it_does(two: Client, world: World) -> None:
    file_id, _ = await two.read(made.pdf([PETS, RENT]), "a.pdf")
    await two.read(made.pdf([RENT]), "b.pdf", user=2)
    body = {"conversation_id": str(uuid.uuid4()), "text": "We talked about the rent."}
    await two.json("PUT", f"/v1/messages/{uuid.uuid4()}", body)
    before = (await two.search("dogs on a lead"))["hits"][0]

    fresh = world.services(**NEW)
    said: list[str] = []
    # it breaks off in the midst: the old one still answers
    world.engine.after = 2
    fresh_small = world.services(**NEW, embedding_batch=1)
    with pytest.raises(EngineFails):
        await reindex(fresh_small, said.append)
    world.engine.after = None
    assert (await two.search("dogs on a lead"))["hits"][0] == before
    # what comes meanwhile is written for both
    late, _ = await two.read(made.pdf([["Birds are allowed as well."]]), "late.pdf")
    models = world.rows(
        "select e.model from document_embeddings e join document_chunks c on c.id = e.chunk_id"
        " where c.file_id = %s order by 1", late,
    )  # fmt: skip
    assert models == [("bge-small-en-v1.5",), ("other",)]

    done = await reindex(fresh, said.append)
    assert (done.model, done.before) == ("other-64-1", "bge-small-en-v1.5-384-1")
    assert done.embedded == 3 + 1 - 2, "what had its vector was not embedded again"
    assert world.rows(
        "select model, retired_at is null, activated_at is not null from embedding_models order by 1"
    ) == [
        ("bge-small-en-v1.5", False, False),
        ("other", True, True),
    ]
    # the service that has run all the while answers with the new one, and citations keep their ids
    world.engine.texts.clear()
    after = (await two.search("dogs on a lead"))["hits"][0]
    assert (after["chunk_id"], after["file_id"]) == (before["chunk_id"], str(file_id))
    assert len((await two.search("rent in Graz", user=2))["hits"]) == 1
    found = await two.json("POST", "/v1/messages/search", {"query": "rent"})
    assert [hit["text"] for hit in found["hits"]] == ["We talked about the rent."]

    # nothing more is written for the old one
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is retired"):
        world.rows(
            "insert into document_embeddings (chunk_id, model, model_version, user_id, embedding)"
            " values (%s, 'bge-small-en-v1.5', '1', 1, array_fill(0.1, array[384])::vector) returning 1",
            after["chunk_id"],
        )
    dropped = await reindex(fresh, said.append, drop=True)
    assert dropped.dropped == 3 + 1 + 1
    assert world.rows("select distinct model from document_embeddings") == [("other",)]
    for services in (fresh, fresh_small):
        await services.close()


async def test_a_model_that_lacks_something_does_not_answer(two: Client, world: World) -> None:
    await two.read(made.pdf([PETS]), "a.pdf")
    services = world.services(**NEW)
    await services.announced.announce()
    with world.postgres.connect(world.database, "embeddings") as connection:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="lacks 1 passages"):
            connection.execute("select activate_embedding_model('other', '1')")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="never announced"):
            connection.execute("select activate_embedding_model('stranger', '1')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update embedding_models set activated_at = now()")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="has 64 dimensions, not 65"):
            connection.execute("select use_embedding_model('other', '1', 65)")
    await services.close()


async def test_an_engine_with_another_model_behind_the_name_writes_nothing(two: Client, world: World) -> None:
    world.engine = Engines(32)
    async with world.client() as client:
        _, events = await client.read(made.pdf([PETS]), "a.pdf")
        assert events[-1]["type"] == "/problems/wrong-model"
    assert world.rows("select count(*) from document_embeddings") == [(0,)]


async def test_qdrant_is_filled_again_from_the_record_and_rid_of_what_is_gone(world: World, client: Client) -> None:
    index = QdrantIndex(AsyncQdrantClient(":memory:"))
    async with world.client(index) as found:
        kept, _ = await found.read(made.pdf([PETS]), "a.pdf")
        gone, _ = await found.read(made.pdf([RENT]), "b.pdf")
        space = found.services.announced.wanted
        assert await found.json("DELETE", f"/v1/documents/{gone}") == {"rows": 3, "vectors": 1, "left": 0}
        assert await index.count(Owner(1), space) == 1
        # what the index missed: a document that came while it was lost, and one that went
        await index.drop(space)
        lost, _ = await client.read(made.pdf([["Cats are on the roof."]]), "c.pdf")
        done = await reindex(found.services, lambda text: None)
        assert (done.embedded, done.indexed, done.removed) == (0, 2, 0)
        assert {hit["file_id"] for hit in (await found.search("cats dogs", mode="meaning"))["hits"]} == {
            str(kept), str(lost)
        }  # fmt: skip
        await client.json("DELETE", f"/v1/documents/{lost}")
        assert (await reindex(found.services, lambda text: None)).removed == 1
        assert await index.count(Owner(1), space) == 1


async def test_the_databases_own_index_is_built_again(two: Client, world: World) -> None:
    await two.read(made.pdf([PETS]), "a.pdf")
    before = world.rows("select indexname from pg_indexes where indexname like 'hnsw%%' order by 1")
    done = await reindex(two.services, lambda text: None)
    assert (done.embedded, done.model) == (0, Space("bge-small-en-v1.5", "1", 384).collection)
    assert world.rows("select indexname from pg_indexes where indexname like 'hnsw%%' order by 1") == before
    assert len((await two.search("dogs on a lead"))["hits"]) == 1
