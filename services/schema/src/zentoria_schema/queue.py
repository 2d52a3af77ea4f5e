"""The tables of procrastinate, the queue of jobs, in a schema of their own.

They are procrastinate's, as the package that is installed here brings them. Which of its migrations they have is
written down beside them, so that a newer package is one more migration of ours that calls ``upgrade``.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg

SCHEMA = "procrastinate"
_GRANTS = b"""
grant usage on schema procrastinate to svc_backend;
grant select, insert, update, delete on all tables in schema procrastinate to svc_backend;
revoke all on procrastinate.applied from svc_backend;
grant usage on all sequences in schema procrastinate to svc_backend;
revoke all on all functions in schema procrastinate from public;
grant execute on all functions in schema procrastinate to svc_backend;
"""


def available() -> tuple[str, ...]:
    """Names of the migrations that the installed package has, in order."""
    folder = resources.files("procrastinate.sql").joinpath("migrations")
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")))


def upgrade(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Make the tables, or bring them to what the installed package wants. In the caller's transaction, as its role."""
    sql = resources.files("procrastinate.sql")
    connection.execute(b"create schema if not exists procrastinate")
    connection.execute(b"set local search_path = procrastinate, pg_catalog")
    row = connection.execute(b"select to_regclass('procrastinate.applied') is not null").fetchone()
    if row == (True,):
        done = {name for (name,) in connection.execute(b"select name from procrastinate.applied")}
        wanted = [name for name in available() if name not in done]
        for name in wanted:
            connection.execute(sql.joinpath("migrations", name).read_bytes())
    else:
        connection.execute(sql.joinpath("schema.sql").read_bytes())
        connection.execute(b"create table procrastinate.applied (name text primary key)")
        wanted = list(available())
    with connection.cursor() as cursor:
        cursor.executemany("insert into procrastinate.applied values (%s)", [(name,) for name in wanted])
    connection.execute(_GRANTS)
    connection.execute(b"reset search_path")


def remove(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Remove them, with what is queued."""
    connection.execute(b"drop schema procrastinate cascade")
