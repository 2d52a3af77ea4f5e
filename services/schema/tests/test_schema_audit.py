"""The trail: a chain that many write at once, that anybody can verify, and that always has a partition."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zentoria_schema.audit_chain import EXPORT, FIELDS, LINE, START, digest, verify
from zentoria_schema.embedded import PostgresServer

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def admin(postgres_server: PostgresServer, core_database: str) -> Iterator[Connection]:
    with postgres_server.connect(core_database) as connection:
        yield connection


def _export(admin: Connection) -> list[str]:
    return [row[0] for row in admin.execute(EXPORT).fetchall()]


@pytest.fixture(scope="module")
def exported(admin: Connection) -> list[str]:
    """An export with everything that is hard to write down."""
    hard = [
        (1, "a", "files", "Zoë/ñ 🙂", "192.0.2.7", 'x\ty\\"', '{"b": 1.10, "a": [null, true], "ü": "\\u0007"}', "u:1"),
        (None, "b", None, None, "2001:db8::1", None, None, "anonymous"),
        (2**40, "c", "", "", None, "", '{"n": 1e400}', ","),
        (3, "d", "x:y", "3:a,-,1:b", "10.0.0.0/8", "-", "{}", "-"),
    ]
    for user, action, kind, target, ip, agent, details, actor in hard:
        admin.execute(
            "select append_audit(%s, %s, %s, %s, %s, %s, %s, 'info', %s, null)",
            [user, action, kind, target, ip, agent, details, actor],
        )
    return _export(admin)


def test_an_export_verifies(exported: list[str], admin: Connection) -> None:
    verdict = verify(exported)
    assert verdict.broken is None
    assert (verdict.rows, verdict.first, verdict.last) == (len(exported), 1, len(exported))
    head = admin.execute("select id, encode(hash, 'hex') from audit_head").fetchone()
    assert head == (verdict.last, verdict.hash)
    later = verify(exported[2:], whole=False)
    assert (later.broken, later.first, later.hash) == (None, 3, verdict.hash)


@pytest.mark.parametrize("name", (*FIELDS, "prev_hash", "hash"))
@pytest.mark.parametrize("whole", [True, False])
def test_a_field_that_was_changed_is_found(exported: list[str], name: str, whole: bool) -> None:
    lines = list(exported)
    row = json.loads(lines[1])
    row[name] = {"prev_hash": "ab" * 32, "hash": "ab" * 32, "id": "7"}.get(name, (row[name] or "") + "x")
    lines[1] = json.dumps(row)
    broken = verify(lines if whole else lines[1:], whole=whole).broken
    assert broken is not None
    assert broken.line == (2 if whole else 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:1] + lines[2:], "after row 1 comes row 2"),
        (lambda lines: lines[1:], "after row 0 comes row 1"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "after row 0"),
        (lambda lines: [lines[0], *lines], "after row 1"),
        (lambda lines: [lines[0], "{", *lines[1:]], "not JSON"),
        (lambda lines: ["[" * 100_000], "not JSON"),
        (lambda lines: ["{}"], "a row's fields"),
        (lambda lines: [lines[0].replace('"1"', "1", 1)], "not all text"),
        (lambda lines: [lines[0].replace('"a"', '"\\ud800"', 1)], "half a character"),
        (lambda lines: [json.dumps(json.loads(lines[0]) | {"hash": "x"})], "64 hexadecimal"),
        (lambda lines: [json.dumps(json.loads(lines[0]) | {"id": "-1"})], "not a number"),
    ],
)
def test_rows_that_are_gone_moved_or_no_rows_are_found(exported: list[str], change: Any, reason: str) -> None:
    broken = verify(change(exported)).broken
    assert broken is not None
    assert reason in broken.reason


def test_a_cut_tail_shows_in_the_last_hash(exported: list[str]) -> None:
    whole, cut = verify(exported), verify(exported[:-1])
    assert cut.broken is None
    assert cut.hash != whole.hash
    assert verify([]).hash == START


WORDS = st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"])))


@given(st.lists(WORDS, min_size=12, max_size=12), st.integers(0, 11), st.integers(0, 11))
def test_two_rows_that_differ_have_different_hashes(values: list[str | None], one: int, other: int) -> None:
    row = dict(zip(FIELDS, values, strict=True))
    swapped = list(values)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    same = swapped == values
    assert (digest(START, row) == digest(START, dict(zip(FIELDS, swapped, strict=True)))) is same


@given(st.lists(st.text(max_size=40), max_size=4))
def test_what_is_no_export_is_refused_with_words(lines: list[str]) -> None:
    verdict = verify(lines)
    assert (verdict.broken is None) is (not any(line.strip() for line in lines))


def test_the_gateway_exports_page_by_page_for_no_user(
    postgres_server: PostgresServer, core_database: str, exported: list[str]
) -> None:
    with postgres_server.connect(core_database, "backend") as backend:
        pages = [
            [row[0] for row in backend.execute(f"select {LINE} from audit_page(%s, %s) order by id", page)]  # type: ignore[arg-type]  # noqa: S608 - a constant
            for page in ((0, 2), (2, 100))
        ]
        assert backend.execute("select * from audit_log").fetchall() == []
    assert pages[0] == exported[:2]
    assert pages[1][: len(exported) - 2] == exported[2:]


def test_many_write_at_once_and_the_chain_holds(
    postgres_server: PostgresServer, core_database: str, admin: Connection, exported: list[str]
) -> None:
    begin = threading.Barrier(8)

    def write(who: int) -> None:
        with postgres_server.connect(core_database, "backend" if who % 2 else "auth") as connection:
            begin.wait()
            for number in range(15):
                connection.execute(
                    "select append_audit(%s, 'many', null, %s, null, null, null, 'info', 'anonymous', null)",
                    [who, str(number)],
                )
            connection.execute("select append_audit_many(%s)", [json.dumps([{"action": "x", "actor": "y"}] * 10)])

    before = verify(_export(admin)).rows
    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = verify(_export(admin))
    assert verdict.broken is None
    assert verdict.rows == before + 8 * 25


def test_what_is_rolled_back_leaves_no_gap(admin: Connection) -> None:
    before = verify(_export(admin)).rows
    with admin.transaction(force_rollback=True):
        admin.execute("select append_audit(1, 'gone', null, null, null, null, null, 'info', 'a', null)")
    admin.execute("select append_audit(1, 'stays', null, null, null, null, null, 'info', 'a', null)")
    verdict = verify(_export(admin))
    assert dataclasses.astuple(verdict)[:1] == (before + 1,)
    assert verdict.broken is None


@pytest.mark.parametrize(
    "values",
    [
        "1, repeat('x', 101), null, null, null, null, null, 'info', 'a', null",
        "1, null, null, null, null, null, null, 'info', 'a', null",
        "1, 'a', null, null, null, null, null, 'loud', 'a', null",
        "1, 'a', null, null, null, null, '[]', 'info', 'a', null",
        "1, 'a', null, null, null, null, jsonb_build_object('a', repeat('x', 70000)), 'info', 'a', null",
        "1, 'a', null, null, null, null, null, 'info', null, null",
    ],
)
def test_what_makes_no_row_is_refused(admin: Connection, values: str) -> None:
    with pytest.raises(psycopg.DatabaseError):
        admin.execute(f"select append_audit({values})")  # type: ignore[arg-type] # a test's own text
    assert verify(_export(admin)).broken is None


def test_partitions_are_made_ahead_and_by_the_first_row_of_a_month_without_one(
    postgres_server: PostgresServer, core_database: str, admin: Connection
) -> None:
    def parts() -> list[str]:
        query = "select inhrelid::regclass::text from pg_inherits where inhparent = 'audit_log'::regclass order by 1"
        return [row[0] for row in admin.execute(query)]  # type: ignore[arg-type] # a test's own text

    made = parts()
    assert len(made) == 7
    with postgres_server.connect(core_database, "backend") as backend:
        until = backend.execute("select ensure_audit_partitions(12)").fetchone()
        assert backend.execute("select ensure_audit_partitions(12)").fetchone() == until
        assert backend.execute("select ensure_audit_partitions(3)").fetchone() == until
    assert len(parts()) == 13
    with admin.transaction(force_rollback=True):
        for part in parts():
            admin.execute(f"alter table audit_log detach partition {part}")  # type: ignore[arg-type] # a test's own text
            admin.execute(f"drop table {part}")  # type: ignore[arg-type] # a test's own text
        admin.execute("update audit_head set partitions_until = date_trunc('month', now() at time zone 'UTC')")
        admin.execute("select append_audit(1, 'a', null, null, null, null, null, 'info', 'a', null)")
        assert len(parts()) == 7
