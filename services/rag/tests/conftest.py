"""Fixtures of retrieval's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from rag_kit import Client, WordEngine, World
from real_servers import S3Server
from zentoria_schema.embedded import PostgresServer


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, vectors_database: str, s3_server: S3Server) -> World:
    """A database of this module's own, and the shared object storage."""
    return World(postgres_server, vectors_database, s3_server, WordEngine())


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """A client of an application of this test's own; an empty database, and an engine that answers."""
    with world.postgres.connect(world.database) as admin:
        admin.execute("truncate documents, chat_history_embeddings, embedding_models cascade")
    world.engine = WordEngine()
    async with world.client() as made:
        yield made
