"""Which migration a database has, and which this package wants. Pure but for the one query.

Services ask this before they serve, and go by the numbers of the files: Alembic itself is loaded by what migrates.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config

DATABASES = {"zentoria_core": "core", "zentoria_vectors": "vectors"}
"""Databases of ours, and the folder of each one's migrations."""
QUERY = "select version_num from alembic_version"
"""Answers with one row: the database's head. No table: nothing was migrated yet."""
_FILE = re.compile(r"([0-9]{4})_\w+\.py")


def config(database: str) -> Config:
    """Alembic's configuration for ``database``.

    Raises:
        KeyError: it is no database of ours.
    """
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", f"zentoria_schema:migrations/{DATABASES[database]}")
    return made


@functools.cache
def known(database: str) -> frozenset[str]:
    """The migrations of ``database`` that this package has: each file's name begins with its number.

    Raises:
        KeyError: it is no database of ours.
    """
    folder = importlib.resources.files("zentoria_schema") / "migrations" / DATABASES[database] / "versions"
    return frozenset(found[1] for each in folder.iterdir() if (found := _FILE.fullmatch(each.name)))


@functools.cache
def expected(database: str) -> str:
    """The head that this package's code needs ``database`` to have.

    Raises:
        KeyError: it is no database of ours.
    """
    head = max(known(database), default=None)
    if head is None:
        raise LookupError(f"no migrations for {database}")
    return head


def trouble(database: str, current: str | None) -> str | None:
    """Why a service must not work with ``database`` at the head ``current`` (null: never migrated), or None."""
    wanted = expected(database)
    if current == wanted:
        return None
    if current is None:
        return f"{database} was never migrated, this release needs {wanted}: run 'zentoria up'"
    if current in known(database):
        return f"{database} is at {current}, this release needs {wanted}: run 'zentoria up'"
    return (
        f"{database} is at {current}, which this release does not know (it needs {wanted}): "
        "deploy the newer release, or go back with 'zentoria rollback'"
    )
