"""Brings a database to a migration, alone, in one transaction."""

from __future__ import annotations

import dataclasses

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from zentoria_schema import head
from zentoria_schema.migrations.running import ATTRIBUTE, to_driver
from zentoria_schema.roles import OWNER, ensure_roles

LOCK = 0x7A656E746F726961
"""The advisory lock that a migration holds: "zentoria" in ASCII."""

EXTENSIONS = {"zentoria_vectors": ("vector",)}


@dataclasses.dataclass(frozen=True)
class Migrated:
    """What came of it.

    Args:
        database: which.
        before: the migration that it had, or None.
        after: the one that it has now.
    """

    database: str
    before: str | None
    after: str | None


def current(connection: Connection) -> str | None:
    """The migration that the database has, or None."""
    there = connection.execute(text("select to_regclass('public.alembic_version') is not null")).scalar()
    return connection.execute(text(head.QUERY)).scalar() if there else None


def migrate(engine: Engine, database: str, target: str = "head") -> Migrated:
    """Bring ``database``, to which ``engine`` connects directly, forward or back to ``target``.

    It waits for whoever migrates at the same time, and does nothing if that was enough. After an error the database is
    as it was.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: PostgreSQL refused; nothing was changed.
        psycopg.Error: likewise, of a file of statements.
        alembic.util.CommandError: there is no such target.
        KeyError: it is no database of ours.
    """
    config = head.config(database)
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # Whoever waits for a table that a migration waits for waits as long: rather fail, and try again.
        connection.execute(text("set local lock_timeout = '60s'"))
        before = current(connection)
        if target == "head" and before == head.expected(database):
            return Migrated(database, before, before)
        ensure_roles(to_driver(connection))
        for name in EXTENSIONS.get(database, ()):
            # Not every build of it lets an owner of a database do this.
            connection.execute(text(f"create extension if not exists {name}"))
        connection.execute(text(f"set local role {OWNER}"))
        config.attributes[ATTRIBUTE] = connection
        back = target == "base" or (before is not None and _is_before(database, target, before))
        (command.downgrade if back else command.upgrade)(config, target)
        return Migrated(database, before, current(connection))


def _is_before(database: str, target: str, now: str) -> bool:
    """Whether ``target`` is an ancestor of ``now``."""
    script = ScriptDirectory.from_config(head.config(database))
    return target != now and any(one.revision == target for one in script.iterate_revisions(now, "base"))
