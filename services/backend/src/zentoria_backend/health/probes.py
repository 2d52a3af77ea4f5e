"""Probes: one small question to each dependency, over the same pools that the service works with."""

from __future__ import annotations

import psycopg
import redis.asyncio
import redis.exceptions
import sqlalchemy
import sqlalchemy.exc
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from zentoria_common.health.probe import ProbeError

from zentoria_backend.settings import Secrets, Settings


def make_engine(settings: Settings, secrets: Secrets) -> AsyncEngine:
    """Engine for PostgreSQL behind PgBouncer in transaction mode.

    ``prepare_threshold=None``: the next transaction may run on another server connection, which does not know our
    prepared statements. No ``options`` either: PgBouncer refuses startup parameters that it does not track.
    """
    return create_async_engine(
        sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=settings.database_user,
            password=secrets.database_password.get_secret_value(),
            host=settings.database_host,
            port=settings.database_port,
            database=settings.database_name,
        ),
        pool_size=5,
        max_overflow=10,
        pool_timeout=settings.dependency_timeout,
        pool_recycle=1800,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": max(2, round(settings.dependency_timeout)),
            "application_name": "zentoria-backend",
        },
    )


def make_redis(settings: Settings, secrets: Secrets) -> redis.asyncio.Redis:
    """Client for Redis with an ACL user; one try a command, because the caller knows better when to ask again."""
    return redis.asyncio.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        username=settings.redis_user,
        password=secrets.redis_password.get_secret_value(),
        socket_connect_timeout=settings.dependency_timeout,
        socket_timeout=settings.dependency_timeout,
        retry=Retry(NoBackoff(), 0),
        max_connections=64,
        protocol=3,
        decode_responses=True,
    )


class DatabaseProbe:
    """Asks PostgreSQL, through PgBouncer, for its version and the database it serves."""

    name = "database"

    def __init__(self, engine: AsyncEngine, password: str = "") -> None:
        self._engine = engine
        self._password = password

    async def ask(self) -> dict[str, str]:
        """Run one statement that the server itself has to answer (PgBouncer alone cannot)."""
        statement = sqlalchemy.text("SELECT 1, current_setting('server_version'), current_database()")
        try:
            async with self._engine.connect() as connection:
                row = (await connection.execute(statement)).one()
        except sqlalchemy.exc.TimeoutError:
            raise ProbeError("no free connection in the pool") from None
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise _database_error(error, self._password) from None
        one, version, database = row
        if one != 1:
            raise ProbeError("wrong answer", f"SELECT 1 gave {one!r}")
        return {"server": f"PostgreSQL {str(version).split()[0]}", "database": str(database)}

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


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


# libpq does not tell the SQLSTATE of a failed connection, only its text (in English: our guests have no other).
_DATABASE_REASONS = (
    ("password authentication failed", "login refused"),
    ("no password supplied", "login refused"),
    ("sasl authentication failed", "login refused"),
    ("no such user", "login refused"),
    ("no such database", "database does not exist"),
    ("does not exist", "database does not exist"),
    ("the database system is starting up", "starting up"),
    ("the database system is shutting down", "shutting down"),
    ("terminating connection", "shutting down"),
    ("no more connections allowed", "too many connections"),
    ("too many clients", "too many connections"),
    ("remaining connection slots", "too many connections"),
    ("connection refused", "connection refused"),
    ("timeout expired", "connection timed out"),
    ("query_wait_timeout", "pooler has no server connection"),
    ("server login has been failing", "pooler cannot log in to the server"),
    ("server_login_retry", "pooler cannot log in to the server"),
)


def _database_error(error: Exception, password: str) -> ProbeError:
    original = getattr(error, "orig", None) or error
    detail = _one_line(str(original), password)
    lowered = detail.lower()
    for text, reason in _DATABASE_REASONS:
        if text in lowered:
            return ProbeError(reason, detail)
    if isinstance(original, psycopg.OperationalError | OSError):
        return ProbeError("cannot connect", detail)
    return ProbeError("query failed", detail)


def _redis_error(error: Exception, password: str) -> ProbeError:
    detail = _one_line(str(error), password)
    if isinstance(error, redis.exceptions.AuthenticationError):
        return ProbeError("login refused", detail)
    if isinstance(error, redis.exceptions.NoPermissionError):
        return ProbeError("not permitted", detail)
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return ProbeError("starting up", detail)
    if isinstance(error, redis.exceptions.TimeoutError):
        return ProbeError("connection timed out", detail)
    if isinstance(error, redis.exceptions.ConnectionError | OSError):
        return ProbeError("connection refused" if "refused" in detail.lower() else "cannot connect", detail)
    return ProbeError("command failed", detail)


def _one_line(text: str, password: str) -> str:
    line = " ".join(text.split())
    return line.replace(password, "***") if password else line
