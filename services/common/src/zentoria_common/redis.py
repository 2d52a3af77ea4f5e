"""Redis with an ACL user: client and probe. Keys of a service begin with ``<container>:``, which its rights are for."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import redis.asyncio
import redis.exceptions
from pydantic import SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from zentoria_common.health.probe import ProbeError, one_line
from zentoria_common.settings import RedisSettings

OUTAGES: Mapping[type[Exception], str] = {
    redis.exceptions.ConnectionError: "redis",
    redis.exceptions.TimeoutError: "redis",
    redis.exceptions.ReadOnlyError: "redis",
    redis.exceptions.OutOfMemoryError: "redis",
}
"""Exceptions that mean "it does not answer", or takes nothing at the moment."""

MAX_CONNECTIONS = 64


def make_redis(settings: RedisSettings, password: SecretStr, *, blocking: float = 0) -> redis.asyncio.Redis:
    """A client; one try a command, because the caller knows better when to ask again. Nothing connects yet.

    Args:
        settings: where Redis is.
        password: of ``settings.redis_user``.
        blocking: seconds that a blocking command (``XREAD BLOCK``) may wait; for such ones make a client of their own.
    """
    pool = redis.asyncio.BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=settings.dependency_timeout,
        host=settings.redis_host,
        port=settings.redis_port,
        username=settings.redis_user,
        password=password.get_secret_value(),
        socket_connect_timeout=settings.dependency_timeout,
        socket_timeout=settings.dependency_timeout + blocking,
        retry=Retry(NoBackoff(), 0),
        protocol=3,
        decode_responses=True,
    )
    return redis.asyncio.Redis.from_pool(pool)


class RedisProbe:
    """Sends PING as the service's ACL user, and HELLO for the version: INFO is more than that user needs."""

    name = "redis"

    def __init__(self, client: redis.asyncio.Redis, password: str = "") -> None:
        self._client = client
        self._password = password

    async def ask(self) -> dict[str, str]:
        """Send PING and HELLO in one round trip."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("PING")
                pipeline.execute_command("HELLO")
                pong, hello = await pipeline.execute(raise_on_error=False)
            if isinstance(pong, Exception):
                raise pong
        except (redis.exceptions.RedisError, OSError) as error:
            raise _redis_error(error, self._password) from None
        if pong not in (True, "PONG"):
            raise ProbeError("wrong answer", f"PING gave {pong!r}")
        if not isinstance(hello, dict):  # an ACL user without +hello: alive all the same
            return {"redis_version": "unknown"}
        return {"server": str(hello.get("server", "redis")), "redis_version": str(hello.get("version", "unknown"))}

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()


def _redis_error(error: Exception, password: str) -> ProbeError:
    detail = one_line(str(error), password)
    if isinstance(error, redis.exceptions.AuthenticationError):
        return ProbeError("login refused", detail)
    if isinstance(error, redis.exceptions.NoPermissionError):
        return ProbeError("not permitted", detail)
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return ProbeError("starting up", detail)
    if isinstance(error, redis.exceptions.TimeoutError):
        return ProbeError("connection timed out", detail)
    if isinstance(error, redis.exceptions.ConnectionError | OSError):
        refused = "refused" in detail.lower() or f"Error {errno.ECONNREFUSED} " in detail
        return ProbeError("connection refused" if refused else "cannot connect", detail)
    return ProbeError("command failed", detail)
