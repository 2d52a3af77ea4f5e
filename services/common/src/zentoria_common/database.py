"""PostgreSQL behind PgBouncer in transaction mode: engine, one transaction a session with its user, probes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, cast

import psycopg
import sqlalchemy
import sqlalchemy.exc
import structlog
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from zentoria_common.health.probe import ProbeError, one_line
from zentoria_common.problems import Unavailable
from zentoria_common.settings import DatabaseSettings
from zentoria_common.statements import Statement, Statements, executed

OUTAGES: Mapping[type[Exception], str] = {
    sqlalchemy.exc.OperationalError: "database",
    sqlalchemy.exc.InterfaceError: "database",
    sqlalchemy.exc.TimeoutError: "database",
}
"""Exceptions that mean "it does not answer": no connection, none free, cut off, cancelled by a timeout, deadlock."""
_LOST: tuple[type[Exception], ...] = (*OUTAGES, psycopg.OperationalError, psycopg.InterfaceError)

_log = structlog.stdlib.get_logger("zentoria_common.database")


def make_engine(
    settings: DatabaseSettings,
    password: SecretStr,
    *,
    application: str,
    pooled: bool = True,
    port: int | None = None,
    pool_size: int = 15,
) -> AsyncEngine:
    """An engine. Nothing connects before it is used.

    ``prepare_threshold=None``: the next transaction may run on another server connection, which does not know our
    prepared statements. No ``options`` either: PgBouncer refuses startup parameters that it does not track.

    The driver is in autocommit mode, and ``BEGIN`` is sent here: so it brings along, in the same round trip, what holds
    for the transaction. Connections are not asked whether they are alive before each use: whoever begins tries again.

    Args:
        settings: where the database is.
        password: of ``settings.database_user``.
        application: what ``pg_stat_activity`` shows, as ``zentoria-backend``.
        pooled: keep connections. False for what is rare and long (LISTEN): a connection of its own each time.
        port: in place of the settings' one: PostgreSQL's own, for what PgBouncer cannot pass on.
        pool_size: connections that are made as they are needed, and stay open: one that were closed and made again at
            each peak would cost more than a request.
    """
    kept = (
        {
            "pool_size": pool_size,
            "max_overflow": 0,
            "pool_timeout": settings.dependency_timeout,
            "pool_recycle": 1800,
        }
        if pooled
        else {"poolclass": NullPool}
    )
    engine = create_async_engine(
        sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=settings.database_user,
            password=password.get_secret_value(),
            host=settings.database_host,
            port=port or settings.database_port,
            database=settings.database_name,
        ),
        hide_parameters=True,
        use_native_hstore=False,  # nobody has such columns, and each new connection would ask for the type
        connect_args={
            "autocommit": True,
            "prepare_threshold": None,
            "connect_timeout": max(2, round(settings.dependency_timeout)),
            "application_name": application,
        },
        **kept,
    )
    sqlalchemy.event.listen(engine.sync_engine, "begin", _begin)
    return engine


_BEGIN = "zentoria_begin"
"""Execution option: the statements that a transaction begins with."""
_PLAIN = {"no_parameters": True}
"""The simple query protocol, which takes several statements at once."""


def _begin(connection: sqlalchemy.Connection) -> None:
    """Begin a transaction, for SQLAlchemy, which leaves that to the driver."""
    statements = connection.get_execution_options().get(_BEGIN, "BEGIN")
    connection.exec_driver_sql(statements, execution_options=_PLAIN)


class Database:
    """Transactions, each for one user or for none.

    Args:
        engine: made by :func:`make_engine`; :meth:`close` closes it.
        statement_timeout: seconds that one statement may take.
        patience: seconds that :meth:`rows` waits for a free connection.
    """

    def __init__(self, engine: AsyncEngine, *, statement_timeout: float = 10.0, patience: float = 2.0) -> None:
        self.engine = engine
        self._statements = Statements(self._connect, timeout=patience)
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._timeout = round(statement_timeout * 1000)

    @contextlib.asynccontextmanager
    async def session(self, user_id: int | None = None) -> AsyncGenerator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back on any exception.

        Row-level security sees ``zentoria.user_id``, which holds for this transaction alone: behind PgBouncer the next
        one on the same connection is somebody else's. Without a user it is empty, and rows with an owner are not seen.

        Args:
            user_id: whose rows are seen.

        Raises:
            Unavailable: the database does not answer, or not in time.
        """
        try:
            async with self._sessions() as session, session.begin():
                await self._begin(session, user_id)
                yield session
                if (last := session.info.pop(_LAST, None)) is not None:
                    await _end(session, *last())
        except psycopg.DataError as error:
            raise sqlalchemy.exc.DataError(None, None, error, hide_parameters=True) from error
        except _LOST as error:
            raise _unavailable(error) from error

    async def rows(
        self, statement: Statement, user_id: int | None = None, *, writes: bool = False, **values: Any
    ) -> list[Any]:
        """Run one statement as a transaction of its own, in one round trip.

        Args:
            statement: made once, where the code is loaded.
            user_id: whose rows are seen.
            writes: it changes something.
            values: of its parameters.

        Returns:
            Its rows, as named tuples.

        Raises:
            Unavailable: the database does not answer, or not in time.
        """
        try:
            return await self._statements.run(self._opening(user_id), statement, values, writes=writes)
        except _LOST as error:
            raise _unavailable(error) from error

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        """A connection as the engine makes them, which its pool forgets."""
        fairy = await self.engine.raw_connection()
        connection = cast("psycopg.AsyncConnection[Any]", fairy.driver_connection)
        fairy.detach()
        return connection

    def _opening(self, user_id: int | None) -> str:
        user = "" if user_id is None else f"{user_id:d}"  # digits alone: it becomes a part of the statement
        return f"BEGIN; SET LOCAL zentoria.user_id = '{user}'; SET LOCAL statement_timeout = {self._timeout:d}"

    async def _begin(self, session: AsyncSession, user_id: int | None) -> None:
        """Send BEGIN. A connection that was cut while it waited in the pool is made anew, once."""
        options = {_BEGIN: self._opening(user_id)}
        try:
            await session.connection(execution_options=options)
        except sqlalchemy.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await session.connection(execution_options=options)

    async def close(self) -> None:
        """Close the pools."""
        await self._statements.close()
        await self.engine.dispose()


_LAST = "zentoria_last"


def ends_with(session: AsyncSession, make: Callable[[], tuple[Statement, Mapping[str, Any]]]) -> None:
    """Let a session's transaction end with a statement, which goes to the server together with its COMMIT.

    What it locks is locked for as long as the server works at it, and not while messages are on their way.

    Args:
        session: of :meth:`Database.session`.
        make: gives the statement and its values, when all else is done.
    """
    session.info[_LAST] = make


async def _end(session: AsyncSession, statement: Statement, values: Mapping[str, Any]) -> None:
    await session.flush()
    fairy = await (await session.connection()).get_raw_connection()
    connection = cast("psycopg.AsyncConnection[Any]", fairy.driver_connection)
    await executed(connection, f"{statement.text}; COMMIT", statement.values(values))


def _unavailable(error: Exception) -> Unavailable:
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None)
    _log.warning("database fails", error_type=type(original).__qualname__, sqlstate=state)
    return Unavailable("database")


class DatabaseProbe:
    """Asks PostgreSQL, through PgBouncer, for its version and the database it serves."""

    name = "database"

    def __init__(self, engine: AsyncEngine, password: str = "") -> None:
        self._engine = engine
        self._password = password

    async def ask(self) -> dict[str, str]:
        """Run one statement that the server itself has to answer (PgBouncer alone cannot)."""
        statement = "SELECT 1, current_setting('server_version'), current_database()"
        one, version, database = await _row(self._engine, statement, self._password)
        if one != 1:
            raise ProbeError("wrong answer", f"SELECT 1 gave {one!r}")
        return {"server": f"PostgreSQL {str(version).split()[0]}", "database": str(database)}

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


class SchemaProbe:
    """Asks at which migration the database is. Another one than ours is an error that waiting does not mend.

    Args:
        engine: of the database.
        trouble: says why the service must not work with a database at that migration (None: never migrated), or None;
            ``functools.partial(zentoria_schema.head.trouble, "zentoria_core")``.
        password: which no text may show.
        closes: whether the pool is closed with it; not where :class:`DatabaseProbe` does so.
    """

    name = "schema"

    def __init__(
        self,
        engine: AsyncEngine,
        trouble: Callable[[str | None], str | None],
        password: str = "",
        *,
        closes: bool = False,
    ) -> None:
        self._engine, self._trouble, self._password, self._closes = engine, trouble, password, closes

    async def ask(self) -> dict[str, str]:
        """Read Alembic's table."""
        statement = "SELECT string_agg(version_num, ',') FROM alembic_version"
        found: str | None = None
        try:
            (found,) = await _row(self._engine, statement, self._password)
        except ProbeError as error:
            if 'relation "alembic_version" does not exist' not in error.detail:
                raise
        if detail := self._trouble(found):
            raise ProbeError("schema is of another release", detail, fatal=True)
        return {"migration": str(found)}

    async def close(self) -> None:
        """Close the pool, where it is its own."""
        if self._closes:
            await self._engine.dispose()


async def _row(engine: AsyncEngine, statement: str, password: str) -> tuple[Any, ...]:
    asked = sqlalchemy.text(statement)
    try:
        try:
            async with engine.connect() as connection:
                return tuple((await connection.execute(asked)).one())
        except sqlalchemy.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
        async with engine.connect() as connection:  # the pool has dropped what was cut with it
            return tuple((await connection.execute(asked)).one())
    except sqlalchemy.exc.TimeoutError:
        raise ProbeError("no free connection in the pool") from None
    except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise _database_error(error, password) from None


# libpq does not tell the SQLSTATE of a failed connection, only its text (in English: our guests have no other).
_REASONS = (
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
    detail = one_line(str(original), password)
    lowered = detail.lower()
    for text, reason in _REASONS:
        if text in lowered:
            return ProbeError(reason, detail)
    if isinstance(original, psycopg.OperationalError | OSError):
        return ProbeError("cannot connect", detail)
    return ProbeError("query failed", detail)
