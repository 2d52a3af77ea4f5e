"""One statement as one transaction in one round trip: what most requests need of the database, at a third of its price.

``BEGIN``, the transaction's settings, the statement and ``COMMIT`` go to the server together, by PostgreSQL's simple
query protocol; psycopg puts the parameters in, as literals that libpq has escaped. The server's log of a statement that
fails shows them: passwords and the like have no place here.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import psycopg
import sqlalchemy.exc
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.sql import ClauseElement

from zentoria_common.problems import Unavailable

_DIALECT = dialects.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call] # SQLAlchemy's
Connect = Callable[[], Awaitable["psycopg.AsyncConnection[Any]"]]


class Statement:
    """A statement that is made once and run often, with values for its ``bindparam()``.

    Args:
        clause: of SQLAlchemy's, without ``in_()``; its columns are the names of what a row has.
    """

    def __init__(self, clause: ClauseElement) -> None:
        self._clause = clause

    @cached_property
    def _compiled(self) -> tuple[str, dict[str, Any]]:
        compiled = self._clause.compile(dialect=_DIALECT)
        return str(compiled), dict(compiled.params)

    @property
    def text(self) -> str:
        """With psycopg's places for parameters."""
        return self._compiled[0]

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Its own values, with those that are given."""
        return {**self._compiled[1], **given}


class Statements:
    """Runs them, on connections of its own that stay open.

    Args:
        connect: makes a connection in autocommit mode.
        timeout: seconds that a caller waits for a free one.
        size: connections.
    """

    def __init__(self, connect: Connect, *, timeout: float, size: int = 8) -> None:
        self._connect = connect
        self._timeout = timeout
        self._free: collections.deque[psycopg.AsyncConnection[Any]] = collections.deque()
        self._places = asyncio.Semaphore(size)
        self._closed = False

    async def run(self, begin: str, statement: Statement, values: Mapping[str, Any], *, writes: bool) -> list[Any]:
        """Run one.

        Args:
            begin: what opens the transaction and sets it up.
            statement: what to run.
            values: of its parameters.
            writes: it changes something: it is not sent twice, whatever becomes of the connection.

        Returns:
            Its rows, as named tuples.

        Raises:
            Unavailable: no connection is free in time.
            psycopg.Error: the database refuses it, or does not answer.
            sqlalchemy.exc.DataError: a value is none that PostgreSQL can keep.
        """
        text = f"{begin}; {statement.text}; COMMIT"
        try:
            async with self._place():
                return await self._tried(text, statement.values(values), again=not writes)
        except psycopg.DataError as error:
            raise sqlalchemy.exc.DataError(None, None, error, hide_parameters=True) from error

    async def close(self) -> None:
        """Close the connections that are free, and each other one when it is given back."""
        self._closed = True
        while self._free:
            await self._free.pop().close()

    async def _tried(self, text: str, values: Mapping[str, Any], *, again: bool) -> list[Any]:
        connection = await self._kept()
        kept = connection is not None
        if connection is None:
            connection = await self._connect()
        try:
            try:
                return await executed(connection, text, values)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not again or not kept or not connection.broken:
                    raise
                connection = await self._connect()
                return await executed(connection, text, values)
        finally:
            await self._back(connection)

    async def _kept(self) -> psycopg.AsyncConnection[Any] | None:
        """One that is free and quiet: what the server sends by itself is the end."""
        while self._free:
            connection = self._free.pop()
            if not _readable(connection.fileno()):
                return connection
            await connection.close()
        return None

    async def _back(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.close()
        else:
            self._free.append(connection)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places.locked():
            try:
                async with asyncio.timeout(self._timeout):
                    await self._places.acquire()
            except TimeoutError:
                raise Unavailable("database", "no connection to the database is free") from None
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()


async def executed(connection: psycopg.AsyncConnection[Any], text: str, values: Mapping[str, Any]) -> list[Any]:
    """Send a text of several statements, the last of them COMMIT.

    Returns:
        The rows of the one before it, as named tuples.
    """
    cursor = psycopg.AsyncClientCursor(connection, row_factory=namedtuple_row)
    await cursor.execute(text, values)
    await cursor.set_result(-2)
    return [] if cursor.rownumber is None else await cursor.fetchall()


def _readable(descriptor: int) -> bool:
    asked = select.poll()  # not select(), which takes no descriptor above 1023
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(0))
