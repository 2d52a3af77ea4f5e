"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import pytest_asyncio
from gateway_kit import AuthService, World
from real_servers import RedisServer
from zentoria_schema.embedded import PostgresServer


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, core_database: str, redis_server: RedisServer) -> Iterator[World]:
    """A database of this module's own, an empty Redis, and an auth service's stand-in."""
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin)


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application of this test's own."""
    async with world.client() as client:
        yield client
