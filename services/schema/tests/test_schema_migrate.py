"""Forward, back, refused, dumped and restored."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from zentoria_schema import embedded, head, main, queue
from zentoria_schema.embedded import PostgresServer
from zentoria_schema.migrate import Migrated, migrate

DATABASES = sorted(head.DATABASES)


def _revisions(database: str) -> list[str]:
    return [one.revision for one in ScriptDirectory.from_config(head.config(database)).walk_revisions()][::-1]


EVERY = [(database, revision) for database in DATABASES for revision in _revisions(database)]


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes databases without anything in them."""
    made: list[str] = []

    def make() -> str:
        name = f"empty_{len(made)}"
        with postgres_server.connect() as connection:
            connection.execute(f"create database {name} owner zentoria_owner")  # type: ignore[arg-type] # a test's own text
        made.append(name)
        return name

    yield make
    for name in made:
        postgres_server.drop(name)


def _migrate(server: PostgresServer, name: str, database: str, target: str = "head") -> Migrated:
    engine = create_engine(server.url(name), poolclass=NullPool)
    try:
        return migrate(engine, database, target)
    finally:
        engine.dispose()


def _shape(server: PostgresServer, name: str) -> set[str]:
    """Everything in a database's catalogue that migrations make, without numbers."""
    queries = (
        "select n.nspname, c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity, "
        "(select array_agg(a::text order by a::text) from "
        "unnest(coalesce(c.relacl, acldefault(case relkind when 'S' then 'S' else 'r' end::\"char\", relowner))) a), "
        "pg_get_userbyid(c.relowner) from pg_class c join pg_namespace n on n.oid = relnamespace {} and relkind <> 't'",
        "select n.nspname, c.relname, attname, format_type(atttypid, atttypmod), attnotnull, "
        "pg_get_expr(adbin, adrelid), attacl::text from pg_attribute join pg_class c on c.oid = attrelid "
        "join pg_namespace n on n.oid = relnamespace left join pg_attrdef on adrelid = c.oid and adnum = attnum {} "
        "and attnum > 0 and not attisdropped and relkind <> 't'",
        "select n.nspname, conname, pg_get_constraintdef(o.oid) from pg_constraint o join pg_namespace n "
        "on n.oid = connamespace {}",
        "select schemaname, indexname, indexdef from pg_indexes join pg_namespace n on nspname = schemaname {}",
        "select n.nspname, tablename, policyname, roles::text, cmd, qual, with_check from pg_policies "
        "join pg_namespace n on nspname = schemaname {}",
        "select n.nspname, proname, pg_get_function_identity_arguments(p.oid), prosrc, prosecdef, "
        "(select array_agg(a::text order by a::text) from unnest(coalesce(proacl, acldefault('f', proowner))) a) "
        "from pg_proc p join pg_namespace n on n.oid = pronamespace {} "
        "and not exists (select from pg_depend where objid = p.oid and deptype = 'e')",
        "select n.nspname, c.relname, tgname from pg_trigger join pg_class c on c.oid = tgrelid "
        "join pg_namespace n on n.oid = relnamespace {} and not tgisinternal",
    )
    where = "where n.nspname in ('public', 'procrastinate')"
    with server.connect(name) as connection:
        return {repr(row) for query in queries for row in connection.execute(query.format(where))}  # type: ignore[arg-type] # a test's own text


@pytest.mark.parametrize(("database", "revision"), EVERY)
def test_from_nothing_and_from_each_revision_forward_and_back_again(
    postgres_server: PostgresServer, empty: Callable[[], str], database: str, revision: str
) -> None:
    newest = head.expected(database)
    straight, around = empty(), empty()
    assert _migrate(postgres_server, straight, database) == Migrated(database, None, newest)
    assert _migrate(postgres_server, straight, database) == Migrated(database, newest, newest)
    assert _migrate(postgres_server, around, database, revision) == Migrated(database, None, revision)
    then = _shape(postgres_server, around)
    assert _migrate(postgres_server, around, database) == Migrated(database, revision, newest)
    assert _shape(postgres_server, around) == _shape(postgres_server, straight)
    _migrate(postgres_server, around, database, revision)
    assert _shape(postgres_server, around) == then
    assert _migrate(postgres_server, around, database, "base").after is None
    _migrate(postgres_server, around, database)
    assert _shape(postgres_server, around) == _shape(postgres_server, straight)


def test_the_queue_is_what_the_installed_package_wants(postgres_server: PostgresServer, core_database: str) -> None:
    """A newer procrastinate needs one more migration of ours, whose upgrade is ``queue.upgrade``."""
    listed = Path(__file__).with_name("procrastinate_migrations.txt").read_text().split()
    assert list(queue.available()) == listed
    with postgres_server.connect(core_database) as connection:
        rows = connection.execute("select name from procrastinate.applied order by name").fetchall()
    assert [row[0] for row in rows] == listed


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose newest migration fails after it has done something."""
    lines = (
        "from alembic import op",
        'revision = "0099"',
        f"down_revision = {_revisions('zentoria_core')[-1]!r}",
        "def upgrade():",
        '    op.execute("create table half ()")',
        '    op.execute("select * from users, nothing")',
    )
    (tmp_path / "0099_broken.py").write_text("\n".join(lines))
    right = head.config

    def config(database: str) -> Any:
        made = right(database)
        made.set_main_option("path_separator", "space")
        made.set_main_option("version_locations", f"zentoria_schema:migrations/core/versions {tmp_path}")
        return made

    monkeypatch.setattr(head, "config", config)
    monkeypatch.setattr(head, "expected", lambda _: "0099")


@pytest.mark.usefixtures("broken")
def test_a_migration_that_fails_leaves_everything_as_it_was(
    postgres_server: PostgresServer, empty: Callable[[], str]
) -> None:
    name, newest = empty(), _revisions("zentoria_core")[-2]
    _migrate(postgres_server, name, "zentoria_core", newest)
    before = _shape(postgres_server, name)
    with pytest.raises(SQLAlchemyError, match="nothing"):
        _migrate(postgres_server, name, "zentoria_core")
    assert _shape(postgres_server, name) == before
    fresh = empty()
    with pytest.raises(SQLAlchemyError):
        _migrate(postgres_server, fresh, "zentoria_core")
    with postgres_server.connect(fresh) as connection:
        assert connection.execute("select to_regclass('users'), to_regclass('alembic_version')").fetchone() == (
            None,
            None,
        )


def test_two_that_migrate_at_once_do_it_once(postgres_server: PostgresServer, empty: Callable[[], str]) -> None:
    name = empty()
    done: list[Migrated] = []
    threads = [
        threading.Thread(target=lambda: done.append(_migrate(postgres_server, name, "zentoria_core"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = head.expected("zentoria_core")
    assert sorted(str(one.before) for one in done) == sorted(["None", newest, newest])
    assert {one.after for one in done} == {newest}


@pytest.mark.parametrize(
    ("current", "words"),
    [(None, "was never migrated"), ("0000", "does not know"), ("9999", "'zentoria rollback'")],
)
def test_a_wrong_head_is_told_with_what_to_do(current: str | None, words: str) -> None:
    for database in DATABASES:
        assert words in (head.trouble(database, current) or "")
        assert head.trouble(database, head.expected(database)) is None


class Program:
    """The console script against one server, as it runs in container 404."""

    def __init__(
        self, server: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PGHOST", server.host)
        monkeypatch.setenv("PGPORT", str(server.port))
        monkeypatch.setenv("PGUSER", "postgres")
        monkeypatch.setenv("PATH", f"{embedded.programs()}:{os.environ['PATH']}")
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, list[Any], str]:
        with pytest.raises(SystemExit) as ended:
            main.run(words)
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), [json.loads(line) for line in said.out.splitlines()], said.err


@pytest.fixture
def program(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    return Program(postgres_server, monkeypatch, capsys)


@pytest.fixture
def named(postgres_server: PostgresServer) -> Iterator[None]:
    """Both databases with the names that they have in a stack, empty."""
    with postgres_server.connect() as connection:
        for name in DATABASES:
            connection.execute(f"create database {name} owner zentoria_owner")  # type: ignore[arg-type] # a test's own text
    yield
    for name in DATABASES:
        postgres_server.drop(name)


@pytest.mark.usefixtures("named")
def test_the_program_migrates_dumps_and_goes_back(
    program: Program, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    newest = {name: head.expected(name) for name in DATABASES}
    assert program("heads") == (0, [newest], "")
    assert program("current") == (0, [dict.fromkeys(DATABASES)], "")
    code, _, errors = program("check")
    assert code == 1
    assert errors.count("was never migrated") == 2
    code, said, _ = program("migrate", "--dumps", str(tmp_path / "dumps"))
    assert code == 0
    assert said == [{"database": name, "before": None, "after": newest[name], "dump": None} for name in DATABASES]
    assert not (tmp_path / "dumps").exists()
    assert program("check") == (0, [], "")
    assert program("current") == (0, [newest], "")
    shapes = [_shape(postgres_server, name) for name in DATABASES]
    with postgres_server.connect("zentoria_core", "auth") as auth:
        auth.execute("insert into users (email) values ('kept@x.test')")
    with postgres_server.connect("zentoria_core") as admin:
        admin.execute("select append_audit(1, 'a', null, null, null, null, null, 'info', 'a', null)")
    # Back to nothing is a change like any other: a dump comes first, and then one goes back to it.
    for _ in range(3):
        code, said, _ = program("migrate", "--dumps", str(tmp_path / "dumps"), "--to", "base")
        assert code == 0
        for one in said:
            assert one["after"] is None
            assert Path(one["dump"]).stat().st_mode & 0o777 == 0o600
        for name in DATABASES:
            code, said, errors = program("restore", "--database", name, "--dumps", str(tmp_path / "dumps"))
            assert (code, errors) == (0, "")
            assert said[0]["after"] == newest[name]
    for name, shape in zip(DATABASES, shapes, strict=True):
        assert _shape(postgres_server, name) ^ shape == set()
    assert len(list((tmp_path / "dumps").iterdir())) <= 2 * len(DATABASES)
    with postgres_server.connect("zentoria_core", "auth") as auth:
        assert auth.execute("select email from users").fetchall() == [("kept@x.test",)]
    with pytest.raises(SystemExit):
        main.run(["audit-export"])


@pytest.mark.usefixtures("named")
def test_the_program_exports_and_verifies_the_trail(
    program: Program, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    program("migrate")
    with postgres_server.connect("zentoria_core") as admin:
        for number in range(3):
            admin.execute("select append_audit(%s, 'a', null, null, null, null, null, 'info', 'a', null)", [number])
    code, rows, _ = program("audit-export")
    assert code == 0
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    file = tmp_path / "trail.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, said, _ = program("audit-verify", str(file))
    assert (code, said[0]["rows"], said[0]["hash"]) == (0, 3, rows[-1]["hash"])
    rows[1]["user_id"] = "7"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, errors = program("audit-verify", str(file))
    assert code == 1
    assert "line 2, row 2: its hash is not that of what it says" in errors
    assert program("audit-verify", str(tmp_path / "none"))[0] == 1


@pytest.mark.usefixtures("named")
def test_what_cannot_be_done_is_said_in_a_line(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("migrate")
    for words, expected in (
        (("migrate", "--to", "4711"), "4711"),
        (("restore", "--database", "zentoria_core", "--dumps", str(tmp_path)), "no such dump of zentoria_core"),
    ):
        code, _, errors = program(*words)
        assert code == 1
        assert expected in errors
        assert errors.count("\n") == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, errors = program("migrate", "--to", "base", "--dumps", str(tmp_path / "dumps"))
    assert (code, "there is no program pg_dump" in errors) == (1, True)
    monkeypatch.setenv("PGPORT", "1")
    code, _, errors = program("current")
    assert (code, errors.count("\n")) == (1, 1)
    assert "connection" in errors


def test_nobody_waits_for_ever_behind_a_transaction_that_does_not_end(
    postgres_server: PostgresServer, core_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("zentoria_schema.migrate.text", lambda words: text(words.replace("60s", "100ms")))
    with postgres_server.connect(core_database) as other, other.transaction():
        other.execute("select * from users")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            _migrate(postgres_server, core_database, "zentoria_core", "base")
