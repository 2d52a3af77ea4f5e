"""What the gateway asks before it knows for whom."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from zentoria_schema.embedded import PostgresServer


@pytest.fixture(scope="module")
def users(postgres_server: PostgresServer, core_database: str) -> dict[str, int]:
    """An owner, a member, and one who is disabled."""
    with postgres_server.connect(core_database, "auth") as auth:
        rows = auth.execute(
            "insert into users (email, role, disabled_at) values ('o@x.test', 'owner', null), "
            "('m@x.test', 'member', null), ('d@x.test', 'owner', now()) returning id"
        ).fetchall()
    return dict(zip(("owner", "member", "disabled"), (int(str(row[0])) for row in rows), strict=True))


@pytest.fixture
def backend(postgres_server: PostgresServer, core_database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with postgres_server.connect(core_database, "backend") as connection:
        yield connection


def _for(connection: psycopg.Connection[tuple[object, ...]], user: int | None) -> None:
    connection.execute("select set_config('zentoria.user_id', %s, false)", ["" if user is None else str(user)])


def test_a_key_is_found_without_knowing_whose_it_is(
    backend: psycopg.Connection[tuple[object, ...]], users: dict[str, int]
) -> None:
    _for(backend, users["member"])
    row = backend.execute(
        "insert into api_keys (user_id, name, prefix, key_hash, scopes) "
        "values (%s, 'mine', 'abcdefgh', sha256('x'), '{files:read}') returning id, status",
        [users["member"]],
    ).fetchone()
    assert row is not None and row[1] == "active"
    _for(backend, None)
    assert backend.execute("select count(*) from api_keys").fetchone() == (0,)
    found = backend.execute(
        "select user_id, scopes, user_role, user_disabled_at, revoked_at from find_api_key('abcdefgh')"
    ).fetchone()
    assert found == (users["member"], ["files:read"], "member", None, None)
    assert backend.execute("select * from find_api_key('nobodys!')").fetchone() is None
    backend.execute("select touch_api_key(%s, '192.0.2.7')", [row[0]])
    _for(backend, users["member"])
    seen = backend.execute("select last_used_at is not null, host(last_used_ip) from api_keys").fetchone()
    assert seen == (True, "192.0.2.7")


@pytest.mark.parametrize(
    ("user", "expires", "ended", "live"),
    [
        ("member", "1 hour", False, True),
        ("member", "-1 second", False, False),
        ("member", "1 hour", True, False),
        ("disabled", "1 hour", False, False),
    ],
)
def test_a_session_lives_until_it_ends(
    postgres_server: PostgresServer,
    core_database: str,
    backend: psycopg.Connection[tuple[object, ...]],
    users: dict[str, int],
    user: str,
    expires: str,
    ended: bool,
    live: bool,
) -> None:
    with postgres_server.connect(core_database, "auth") as auth:
        row = auth.execute(
            "insert into sessions (user_id, expires_at, ended_at) "
            "values (%s, now() + %s::interval, case when %s then now() end) returning id",
            [users[user], expires, ended],
        ).fetchone()
    assert row is not None
    assert backend.execute("select session_live(%s)", [row[0]]).fetchone() == (live,)
    assert backend.execute("select session_live(%s)", [uuid.uuid4()]).fetchone() == (False,)


def test_the_queue_works_for_the_gateway(backend: psycopg.Connection[tuple[object, ...]]) -> None:
    row = backend.execute(
        "insert into procrastinate_jobs (queue_name, task_name) values ('default', 'nothing') returning status"
    ).fetchone()
    assert row == ("todo",)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        backend.execute("delete from procrastinate.applied")


def test_the_gateway_appends_to_the_trail(
    backend: psycopg.Connection[tuple[object, ...]], users: dict[str, int]
) -> None:
    first = backend.execute(
        "select append_audit(%s, 'auth.login', 'session', 'x', '192.0.2.1', 'test', '{\"a\": 1}', 'info', "
        "'session:x', 'r')",
        [users["member"]],
    ).fetchone()
    many = backend.execute(
        'select append_audit_many(\'[{"action": "a", "actor": "anonymous"}, {"action": "b", "actor": "anonymous"}]\')'
    ).fetchone()
    assert first is not None and isinstance(first[0], int)
    assert many == ([first[0] + 1, first[0] + 2],)
    _for(backend, users["member"])
    assert backend.execute("select action from audit_log").fetchall() == [("auth.login",)]
    _for(backend, users["owner"])
    assert backend.execute("select action from audit_log order by id").fetchall() == [("auth.login",), ("a",), ("b",)]
    _for(backend, users["disabled"])
    assert backend.execute("select action from audit_log").fetchall() == []
