"""Transactions against a real PostgreSQL: whose they are, how they end, and what is said when it is away."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from zentoria_common.database import Database, DatabaseProbe, SchemaProbe, ends_with, make_engine
from zentoria_common.health.probe import ProbeError
from zentoria_common.problems import Unavailable
from zentoria_common.settings import DatabaseSettings
from zentoria_common.statements import Statement
from zentoria_schema import head
from zentoria_schema.embedded import PostgresServer


def settings(server: PostgresServer, name: str, **changes: Any) -> DatabaseSettings:
    values: dict[str, Any] = {
        "database_host": server.host, "database_port": server.port, "database_name": name, "database_user": "backend",
    }  # fmt: skip
    return DatabaseSettings(**(values | changes))


@pytest_asyncio.fixture
async def database(postgres_server: PostgresServer, core_database: str) -> AsyncGenerator[Database]:
    engine = make_engine(
        settings(postgres_server, core_database), SecretStr("x"), application="zentoria-test", pool_size=1,
    )  # fmt: skip
    database = Database(engine, statement_timeout=0.2)
    yield database
    await database.close()


WHO = text("SELECT current_setting('zentoria.user_id', true)")


@pytest.mark.asyncio
async def test_the_user_of_a_transaction_is_gone_with_it(database: Database) -> None:
    async with database.session(12) as session:
        assert (await session.execute(WHO)).scalar_one() == "12"
    # The pool has one connection, so this is the same.
    async with database.session() as session:
        assert (await session.execute(WHO)).scalar_one() == ""


@pytest.mark.asyncio
async def test_an_exception_takes_everything_back(postgres_server: PostgresServer, database: Database) -> None:
    async with database.session() as session:
        name = (await session.execute(text("SELECT current_database()"))).scalar_one()
    with postgres_server.connect(name) as administrator:
        administrator.execute("CREATE TABLE kept (id int PRIMARY KEY)")
        administrator.execute("GRANT SELECT, INSERT ON kept TO backend")
    async with database.session() as session:
        await session.execute(text("INSERT INTO kept VALUES (1)"))
    with pytest.raises(RuntimeError):
        async with database.session() as session:
            await session.execute(text("INSERT INTO kept VALUES (2)"))
            raise RuntimeError
    with pytest.raises(IntegrityError):  # a mistake of ours is no outage
        async with database.session() as session:
            await session.execute(text("INSERT INTO kept VALUES (1)"))
    async with database.session() as session:
        assert (await session.execute(text("SELECT array_agg(id) FROM kept"))).scalar_one() == [1]


@pytest.mark.asyncio
async def test_a_statement_has_its_time_and_no_more(database: Database) -> None:
    with pytest.raises(Unavailable) as caught:
        async with database.session() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    assert caught.value.status == 503
    async with database.session() as session:
        assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


@pytest.mark.asyncio
async def test_a_connection_that_is_cut_is_made_anew(postgres_server: PostgresServer, database: Database) -> None:
    async with database.session() as session:
        process = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    with postgres_server.connect() as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
    async with database.session() as session:
        assert (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one() != process


@pytest.mark.asyncio
async def test_all_connections_of_a_pool_may_be_cut_at_once(
    postgres_server: PostgresServer, core_database: str
) -> None:
    engine = make_engine(settings(postgres_server, core_database), SecretStr("x"), application="x", pool_size=3)
    database = Database(engine)

    async def process(user: int) -> tuple[int, str]:
        async with database.session(user) as session:
            await session.execute(text("SELECT pg_sleep(0.05)"))  # so that all three are in use at a time
            row = (
                await session.execute(text("SELECT pg_backend_pid(), current_setting('zentoria.user_id', true)"))
            ).one()
        return row[0], row[1]

    before = {number for number, _ in await asyncio.gather(*(process(user) for user in (1, 2, 3)))}
    for _ in range(2):  # sessions and a probe each take a cut one
        with postgres_server.connect() as administrator:
            administrator.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) AS pid", [list(before)])
        assert (await DatabaseProbe(engine).ask())["database"] == core_database
        found = await asyncio.gather(*(process(user) for user in (1, 2, 3)))
        assert {user for _, user in found} == {"1", "2", "3"}
        assert not before & {number for number, _ in found}
        before = {number for number, _ in found}
    await database.close()


@pytest.mark.asyncio
async def test_a_connection_that_is_cut_within_a_transaction_is_an_outage(
    postgres_server: PostgresServer, database: Database
) -> None:
    with pytest.raises(Unavailable):  # what it did before is lost: nobody goes on as if it were not
        async with database.session() as session:
            process = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            with postgres_server.connect() as administrator:
                administrator.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
            await session.execute(text("SELECT 1"))
    async with database.session(5) as session:
        assert (await session.execute(WHO)).scalar_one() == "5"


@pytest.mark.asyncio
async def test_a_transaction_begins_in_one_round_trip(database: Database) -> None:
    sent: list[str] = []
    sqlalchemy.event.listen(
        database.engine.sync_engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2])
    )
    for user, said in ((7, "'7'"), (None, "''")):
        async with database.session(user) as session:
            assert (await session.execute(text("SELECT pg_current_xact_id_if_assigned()"))).scalar_one() is None
        begin, _query = sent
        assert begin == f"BEGIN; SET LOCAL zentoria.user_id = {said}; SET LOCAL statement_timeout = 200"
        sent.clear()
    with pytest.raises(ValueError):  # a text cannot get into the statement
        async with database.session("1'; --"):  # type: ignore[arg-type] # what must not happen
            pass


@pytest.mark.asyncio
async def test_without_a_free_connection_it_is_away(postgres_server: PostgresServer, core_database: str) -> None:
    engine = make_engine(
        settings(postgres_server, core_database, dependency_timeout=0.1), SecretStr("x"), application="x", pool_size=1,
    )  # fmt: skip
    database = Database(engine)
    async with database.session():
        with pytest.raises(Unavailable):
            async with database.session():
                pass
        with pytest.raises(ProbeError, match="no free connection"):
            await DatabaseProbe(engine).ask()
    await database.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"database_port": 1}, "connection refused"),
        ({"database_name": "nothing"}, "database does not exist"),
        ({"database_user": "nobody"}, "database does not exist"),
    ],
)
async def test_a_probe_says_why(
    postgres_server: PostgresServer, core_database: str, changes: dict[str, Any], reason: str
) -> None:
    engine = make_engine(settings(postgres_server, core_database, **changes), SecretStr("hunter2"), application="x")
    probe = DatabaseProbe(engine, "hunter2")
    with pytest.raises(ProbeError) as caught:
        await probe.ask()
    assert caught.value.reason == reason
    assert "hunter2" not in caught.value.detail
    with pytest.raises(Unavailable):
        async with Database(engine).session():
            pass
    await probe.close()


@pytest.mark.asyncio
async def test_another_migration_is_an_error_for_good(postgres_server: PostgresServer, core_database: str) -> None:
    engine = make_engine(settings(postgres_server, core_database), SecretStr("x"), application="x", pooled=False)
    trouble = functools.partial(head.trouble, "zentoria_core")
    right = head.expected("zentoria_core")
    assert await SchemaProbe(engine, trouble).ask() == {"migration": right}
    for name, judge, said in (
        (core_database, lambda found: f"not {found}", f"not {right}"),
        ("postgres", trouble, "zentoria_core was never migrated"),
    ):
        other = make_engine(
            settings(postgres_server, name, database_user="postgres"), SecretStr("x"), application="x", pooled=False
        )
        probe = SchemaProbe(other, judge, closes=True)
        with pytest.raises(ProbeError) as caught:
            await probe.ask()
        assert caught.value.fatal
        assert caught.value.detail.startswith(said)
        await probe.close()


@pytest.mark.asyncio
async def test_a_session_that_is_cancelled_gives_its_connection_back(database: Database) -> None:
    started = asyncio.Event()

    async def slow() -> None:
        async with database.session(1) as session:
            started.set()
            await session.execute(text("SELECT pg_sleep(0.15)"))

    task = asyncio.create_task(slow())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.session() as session:
        assert (await session.execute(WHO)).scalar_one() == ""


_SUM = Statement(sqlalchemy.select((sqlalchemy.bindparam("a", type_=sqlalchemy.Integer()) + 1).label("more")))
_TOLD = Statement(
    text("SELECT :said AS said, current_setting('zentoria.user_id', true) AS who, pg_backend_pid() AS process")
)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said", ["'; DROP TABLE users; --", "\\'; --", 'a "b"', "100 %s %(x)s", "ü\n\t", "", "$$", "E'\\047'"]
)
async def test_one_statement_takes_any_text_as_it_is(database: Database, said: str) -> None:
    (row,) = await database.rows(_TOLD, 7, said=said)
    assert (row.said, row.who) == (said, "7")
    (row,) = await database.rows(_TOLD, said=said, writes=True)
    assert (row.said, row.who) == (said, "")


@pytest.mark.asyncio
async def test_one_statement_is_one_transaction(database: Database) -> None:
    assert [row.more for row in await database.rows(_SUM, a=41)] == [42]
    with pytest.raises(sqlalchemy.exc.DataError):
        await database.rows(_TOLD, said="\0")
    with pytest.raises(Unavailable):  # it takes longer than the limit
        await database.rows(Statement(text("SELECT pg_sleep(5)")))
    with pytest.raises(psycopg.errors.UndefinedTable):
        await database.rows(Statement(text("SELECT 1 FROM nothing")))
    assert [row.more for row in await database.rows(_SUM, a=1)] == [2]  # a connection within a failed one is not kept
    assert (await database.rows(_TOLD, said="x"))[0].who == ""
    with pytest.raises(ValueError):
        await database.rows(_SUM, "1'; --", a=1)  # type: ignore[arg-type] # what must not happen
    async with database.session(5) as session:  # with sessions beside it
        assert (await session.execute(WHO)).scalar_one() == "5"


@pytest.mark.asyncio
@pytest.mark.parametrize("writes", [False, True])
async def test_a_statement_survives_that_idle_connections_are_cut(
    postgres_server: PostgresServer, database: Database, writes: bool
) -> None:
    slow = Statement(text("SELECT pg_backend_pid() AS process FROM pg_sleep(0.05)"))
    before = {rows[0].process for rows in await asyncio.gather(*(database.rows(slow) for _ in range(3)))}
    assert len(before) == 3
    with postgres_server.connect() as administrator:
        administrator.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) AS pid", [list(before)])
    found = await asyncio.gather(*(database.rows(slow, writes=writes) for _ in range(3)))
    assert not before & {rows[0].process for rows in found}


@pytest.mark.asyncio
async def test_who_leaves_while_a_statement_runs_leaves_no_trace(
    postgres_server: PostgresServer, core_database: str
) -> None:
    engine = make_engine(settings(postgres_server, core_database), SecretStr("x"), application="x")
    database = Database(engine, statement_timeout=60)
    await database.rows(_TOLD, 3, said="x")  # a connection is there
    task = asyncio.create_task(database.rows(Statement(text("SELECT pg_sleep(60)")), 3))
    await asyncio.sleep(0.05)  # it has sent it, or is about to
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await database.rows(_TOLD, 4, said="x"))[0].who == "4"
    await database.close()


@pytest.mark.asyncio
async def test_a_last_statement_is_committed_with_the_rest_or_nothing_is(
    postgres_server: PostgresServer, core_database: str, database: Database
) -> None:
    with postgres_server.connect(core_database) as administrator:
        administrator.execute("CREATE TABLE last (key text PRIMARY KEY)")
        administrator.execute("GRANT SELECT, INSERT ON last TO backend")
    insert = text("INSERT INTO last VALUES (:key)")
    ending = Statement(insert)
    count = Statement(text("SELECT count(*) AS n FROM last"))
    async with database.session() as session:
        await session.execute(insert, {"key": "a"})
        ends_with(session, lambda: (ending, {"key": "b"}))
    assert (await database.rows(count))[0].n == 2
    for key, refusal in (("a", psycopg.errors.UniqueViolation), ("\0", sqlalchemy.exc.DataError)):
        with pytest.raises(refusal):
            async with database.session() as session:
                await session.execute(insert, {"key": "c"})
                ends_with(session, lambda key=key: (ending, {"key": key}))  # type: ignore[misc]
    with pytest.raises(LookupError):
        async with database.session() as session:
            ends_with(session, lambda: (ending, {"key": "d"}))
            raise LookupError
    assert (await database.rows(count))[0].n == 2
