"""Which migration a database has, and which this package wants. Pure but for the one query."""

from __future__ import annotations

import functools

from alembic.config import Config
from alembic.script import ScriptDirectory

DATABASES = {"zentoria_core": "core", "zentoria_vectors": "vectors"}
"""Databases of ours, and the folder of each one's migrations."""
QUERY = "select version_num from alembic_version"
"""Answers with one row: the database's head. No table: nothing was migrated yet."""


def config(database: str) -> Config:
    """Alembic's configuration for ``database``.

    Raises:
        KeyError: it is no database of ours.
    """
    made = Config()
    made.set_main_option("script_location", f"zentoria_schema:migrations/{DATABASES[database]}")
    return made


@functools.cache
def expected(database: str) -> str:
    """The head that this package's code needs ``database`` to have.

    Raises:
        KeyError: it is no database of ours.
    """
    head = ScriptDirectory.from_config(config(database)).get_current_head()
    if head is None:
        raise LookupError(f"no migrations for {database}")
    return head


def trouble(database: str, current: str | None) -> str | None:
    """Why a service must not work with ``database`` at the head ``current`` (null: never migrated), or None."""
    wanted = expected(database)
    if current == wanted:
        return None
    known = {script.revision for script in ScriptDirectory.from_config(config(database)).walk_revisions()}
    if current is None:
        return f"{database} was never migrated, this release needs {wanted}: run 'zentoria up'"
    if current in known:
        return f"{database} is at {current}, this release needs {wanted}: run 'zentoria up'"
    return (
        f"{database} is at {current}, which this release does not know (it needs {wanted}): "
        "deploy the newer release, or go back with 'zentoria rollback'"
    )
