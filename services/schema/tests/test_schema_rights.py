"""Role x table x operation x whose row: what each comes to, with no cell left out.

A cell is tried for real, in a transaction that is rolled back, and compared with ``zentoria_schema.rights``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from zentoria_schema.core import Base
from zentoria_schema.embedded import PostgresServer
from zentoria_schema.rights import AUTH, BACKEND, FUNCTIONS, OPERATIONS, RIGHTS, Rights
from zentoria_schema.roles import GROUPS

OWNERS = ("own", "other", "nobody's")
Rows = dict[str, dict[str, dict[str, Any]]]
Connection = psycopg.Connection[tuple[Any, ...]]

HASH = "sha256('x')"
SPECIAL = {
    "api_keys.prefix": "left(md5(random()::text), 8)",
    "oauth_clients.kind": "'static'",
    "setup_links.purpose": "'invite'",
    "document_pages.state": "'read'",
    "messages.role": "'user'",
    "audit_log.severity": "'info'",
    "users.email": "md5(random()::text) || '@x.test'",
    "files.sha256": HASH,
    "file_versions.sha256": HASH,
    "api_keys.key_hash": HASH,
    "approvals.digest": HASH,
    "audit_log.prev_hash": HASH,
    "audit_log.hash": HASH,
    "audit_head.hash": HASH,
    "users.role": "'member'",
}
BY_TYPE = {
    "TEXT": "md5(random()::text)",
    "STRING": "'x'",
    "BYTEA": "sha256(random()::text::bytea)",
    "BLOB": "sha256(random()::text::bytea)",
    "JSONB": "'{}'",
    "ARRAY": "'{}'",
    "INTEGER": "floor(random() * 1e9)::int",
    "BIGINTEGER": "floor(random() * 1e9)::bigint",
    "DATETIME": "now()",
    "DATE": "current_date",
    "UUID": "gen_random_uuid()",
    "BOOLEAN": "true",
}


def _values(table: str, owner: int | None, rows: Rows, whose: str) -> dict[str, str]:
    """SQL for each column that a row must have."""
    values: dict[str, str] = {}
    for column in Base.metadata.tables[table].columns:
        name = f"{table}.{column.name}"
        parents = [key.column for key in column.foreign_keys]
        if column.name == "user_id":
            values[column.name] = "null" if owner is None else str(owner)
        elif column.computed is not None or column.identity is not None:
            continue
        elif name in SPECIAL:
            values[column.name] = SPECIAL[name]
        elif column.nullable or column.server_default is not None:
            continue
        elif parents and parents[0].table.name != "users":
            parent = rows[parents[0].table.name]
            values[column.name] = f"'{(parent.get(whose) or next(iter(parent.values())))[parents[0].name]}'"
        else:
            values[column.name] = BY_TYPE[type(column.type).__name__.upper().replace("LARGEBINARY", "BYTEA")]
    return values


def _insert(table: str, values: dict[str, str]) -> sql.Composed:
    return sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.SQL(value) for value in values.values()),  # type: ignore[arg-type] # a test's own text
    )


class World:
    """A database with a row of every table for each owner."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.admin: Connection = server.connect(database)
        self.rows: Rows = {}
        people = self._all(
            "insert into users (email, role) values "
            "('own@x.test', 'member'), ('other@x.test', 'member'), ('boss@x.test', 'owner') returning *"
        )
        self.users = dict(zip(("own", "other", "boss"), people, strict=True))
        self.rows["users"] = {whose: self.users[whose] for whose in ("own", "other")}
        for table in (table.name for table in Base.metadata.sorted_tables):
            if table == "audit_log":
                for whose in OWNERS:
                    self.admin.execute(
                        "select append_audit(%s, 'a', null, null, null, null, null, 'info', 'anonymous', null)",
                        [self.owner(whose)],
                    )
                found = self._all("select * from audit_log order by id")
                self.rows[table] = dict(zip(OWNERS, found, strict=True))
            elif table == "audit_head":
                self.rows[table] = {"nobody's": self._one("select * from audit_head")}
            elif table != "users":
                self.rows[table] = {
                    whose: self._one(_insert(table, self.values(table, whose)) + sql.SQL(" returning *"))
                    for whose in self.owners(table)
                }

    def owner(self, whose: str) -> int | None:
        return self.users[whose]["id"] if whose in self.users else None

    def owners(self, table: str) -> tuple[str, ...]:
        """Whose rows there may be in a table."""
        column = Base.metadata.tables[table].columns.get("user_id")
        if table == "users":
            return ("own", "other")
        if column is None:
            return ("nobody's",)
        return OWNERS if column.nullable else ("own", "other")

    def values(self, table: str, whose: str) -> dict[str, str]:
        return _values(table, self.owner(whose), self.rows, whose)

    def _all(self, query: Any) -> list[dict[str, Any]]:
        with self.admin.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(query).fetchall()

    def _one(self, query: Any) -> dict[str, Any]:
        (row,) = self._all(query)
        return row


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, core_database: str) -> Iterator[World]:
    made = World(postgres_server, core_database)
    yield made
    made.admin.close()


def _expected(table: str, group: str, operation: str, whose: str, user: str) -> str:
    """``denied``, ``hidden`` (it does nothing), or ``done``."""
    rights: Rights = RIGHTS[table]
    if operation not in rights.groups.get(group, frozenset()):
        return "denied"
    if group == AUTH:
        return "done"
    sees = {
        "own": whose == user,
        "own id": whose == user,
        "own or shared": whose == user or (whose == "nobody's" and (operation == "select" or user == "boss")),
        "own or owner": whose == user or user == "boss",
        None: True,
    }[rights.rows]
    return "done" if sees else "denied" if operation == "insert" else "hidden"


def _tried(world: World, table: str, group: str, operation: str, whose: str, user: str) -> str:
    row = world.rows[table][whose]
    key = [column.name for column in Base.metadata.tables[table].primary_key.columns]
    name = sql.Identifier(table)
    where = sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(row[column])) for column in key
    )
    free = next(
        column.name
        for column in Base.metadata.tables[table].columns
        if column.computed is None and column.identity is None and (table, column.name) != ("users", "user_id")
    )
    query = {
        "select": sql.SQL("select {} from {} where {}").format(sql.Identifier(key[0]), name, where),
        "insert": _insert(table, world.values(table, whose)),
        "update": sql.SQL("update {} set {} = {} where {}").format(
            name, sql.Identifier(free), sql.Identifier(free), where
        ),
        "delete": sql.SQL("delete from {} where {}").format(name, where),
        "truncate": sql.SQL("truncate {} cascade").format(name),
    }[operation]
    with world.admin.transaction(force_rollback=True):
        world.admin.execute(sql.SQL("set local role {}").format(sql.Identifier(group)))
        world.admin.execute("select set_config('zentoria.user_id', %s, true)", [str(world.users[user]["id"])])
        try:
            return "done" if world.admin.execute(query).rowcount else "hidden"
        except psycopg.errors.InsufficientPrivilege:
            return "denied"
        except psycopg.errors.UniqueViolation:
            return "done"  # rights are asked first


@pytest.mark.parametrize("table", sorted(RIGHTS))
def test_every_cell_of_the_matrix(world: World, table: str) -> None:
    wrong = []
    cells = itertools.product(GROUPS, OPERATIONS, world.rows[table], ("own", "boss"))
    for group, operation, whose, user in cells:
        expected = _expected(table, group, operation, whose, user)
        if (got := _tried(world, table, group, operation, whose, user)) != expected:
            wrong.append(f"{group} {operation} {whose} row for {user}: {got}, not {expected}")
    assert wrong == []


@pytest.mark.parametrize("table", sorted(RIGHTS))
def test_without_a_user_the_gateway_sees_no_row_that_is_somebodys(world: World, table: str) -> None:
    with world.admin.transaction(force_rollback=True):
        world.admin.execute("set local role svc_backend")
        for value in ("", None):
            if value is not None:
                world.admin.execute("select set_config('zentoria.user_id', %s, true)", [value])
            if "select" in RIGHTS[table].groups.get(BACKEND, ()):
                column = Base.metadata.tables[table].primary_key.columns[0].name
                rows = world.admin.execute(
                    sql.SQL("select {} from {}").format(sql.Identifier(column), sql.Identifier(table))
                )
                assert rows.fetchall() == []


@pytest.mark.parametrize("group", GROUPS)
def test_columns_are_read_as_granted_and_no_others(world: World, group: str) -> None:
    for table, rights in RIGHTS.items():
        allowed = rights.columns.get(group)
        readable = {
            column.name
            for column in Base.metadata.tables[table].columns
            if world.admin.execute(
                "select has_column_privilege(%s, %s, %s, 'select')", [group, table, column.name]
            ).fetchone()
            == (True,)
        }
        whole = {column.name for column in Base.metadata.tables[table].columns}
        mine = "select" in rights.groups.get(group, ())
        assert readable == (allowed or whole if mine else set()), table


def test_functions_with_more_rights_than_their_caller_are_for_those_who_need_them(world: World) -> None:
    found = world.admin.execute(
        "select p.oid, p.proname, p.prosecdef from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
        "where n.nspname = 'public'"
    ).fetchall()
    definers = {name for _, name, definer in found if definer} - {"zentoria_user_is_owner"}
    assert definers == set(FUNCTIONS)
    for oid, name, _ in found:
        if name in FUNCTIONS:
            allowed = {
                group
                for group in (*GROUPS, "pg_monitor")
                if world.admin.execute("select has_function_privilege(%s, %s::oid, 'execute')", [group, oid]).fetchone()
                == (True,)
            }
            assert allowed == FUNCTIONS[name], name


def test_no_role_but_the_owner_can_make_anything(world: World) -> None:
    for group in GROUPS:
        for query in ("create table t ()", "create schema s", "create function f() returns int return 1"):
            with world.admin.transaction(force_rollback=True), pytest.raises(psycopg.errors.InsufficientPrivilege):
                world.admin.execute(sql.SQL("set local role {}").format(sql.Identifier(group)))
                world.admin.execute(query)  # type: ignore[arg-type] # a test's own text


def test_nobody_owns_anything_but_the_owner(world: World) -> None:
    owners = world.admin.execute(
        "select distinct pg_get_userbyid(relowner) from pg_class c join pg_namespace n on n.oid = relnamespace "
        "where nspname in ('public', 'procrastinate') union "
        "select pg_get_userbyid(proowner) from pg_proc p join pg_namespace n on n.oid = pronamespace "
        "where nspname in ('public', 'procrastinate')"
    ).fetchall()
    assert owners == [("zentoria_owner",)]
    login = world.admin.execute(
        "select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = 'zentoria_owner'"
    )
    assert login.fetchone() == (False, False, False)


@pytest.mark.parametrize(
    ("table", "column", "parent"),
    sorted(
        (table.name, key.parent.name, key.column.table.name)
        for table in Base.metadata.tables.values()
        if BACKEND in RIGHTS[table.name].groups
        for key in table.foreign_keys
        if key.column.table.name != "users" and key.parent.name != "user_id"
    ),
)
def test_a_row_cannot_hang_on_another_owners(world: World, table: str, column: str, parent: str) -> None:
    for whose, refused in (("own", False), ("other", True)):
        values = world.values(table, "own") | {column: f"'{world.rows[parent][whose]['id']}'"}
        if table == "file_versions":
            values["number"] = "7"
        with world.admin.transaction(force_rollback=True):
            if table == "documents":  # each file has one
                world.admin.execute("delete from documents")
            world.admin.execute("set local role svc_backend")
            world.admin.execute("select set_config('zentoria.user_id', %s, true)", [str(world.users["own"]["id"])])
            if refused:
                with pytest.raises(psycopg.errors.ForeignKeyViolation):
                    world.admin.execute(_insert(table, values))
            else:
                world.admin.execute(_insert(table, values))


def test_even_the_superuser_changes_no_row_of_the_trail(world: World) -> None:
    for query in ("update audit_log set action = 'b'", "delete from audit_log", "truncate audit_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            world.admin.execute(query)  # type: ignore[arg-type] # a test's own text
    part = world.admin.execute("select tableoid::regclass::text from audit_log limit 1").fetchone()
    assert part is not None
    for words in ("update {} set action = 'b'", "delete from {}", "truncate {}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            world.admin.execute(sql.SQL(words).format(sql.Identifier(part[0])))  # type: ignore[arg-type] # a test's own text
