from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import auth_servers
import pytest_asyncio
from auth_servers import Site
from pydantic import SecretStr
from real_servers import RedisServer
from redis.asyncio import Redis
from zentoria_common.redis import make_redis
from zentoria_schema.embedded import PostgresServer


@pytest_asyncio.fixture
async def redis_client(redis_server: RedisServer) -> AsyncGenerator[Redis]:
    """An empty Redis, with the rights that this service has."""
    redis_server.flush()
    settings = auth_servers.settings(redis_port=redis_server.port, redis_user="auth", dependency_timeout=30)
    client = make_redis(settings, SecretStr(redis_server.password("auth")))
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def redis_admin(redis_server: RedisServer) -> AsyncGenerator[Redis]:
    """The same Redis, with every right: for looking at what lies there."""
    settings = auth_servers.settings(redis_port=redis_server.port, redis_user="admin")
    client = make_redis(settings, SecretStr(redis_server.password("admin")))
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def site(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, tmp_path: Path
) -> AsyncGenerator[Site]:
    """The whole service with empty tables and an empty Redis, and the gateway's keys to it."""
    redis_server.flush()
    async with auth_servers.running_site(postgres_server, core_database, redis_server, tmp_path) as running:
        yield running
