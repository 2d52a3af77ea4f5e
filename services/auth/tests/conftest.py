from __future__ import annotations

from collections.abc import AsyncGenerator

import auth_servers
import pytest_asyncio
from pydantic import SecretStr
from real_servers import RedisServer
from redis.asyncio import Redis
from zentoria_common.redis import make_redis


@pytest_asyncio.fixture
async def redis_client(redis_server: RedisServer) -> AsyncGenerator[Redis]:
    """An empty Redis, with the rights that this service has."""
    redis_server.flush()
    settings = auth_servers.settings(redis_port=redis_server.port, redis_user="auth")
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
