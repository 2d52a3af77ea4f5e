"""Steps that bring roles, databases, schemas and extensions of PostgreSQL to what they shall be.

``psql`` runs as the system user ``postgres`` (peer authentication) and gets its SQL on standard input: nothing of it
is in the process list. The SQL is in ``templates/postgresql``: ``<what>.check.sql`` answers ``t`` when all is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zentoria_infra.guest.state import Command
from zentoria_infra.roles.databases import Database

if TYPE_CHECKING:
    from zentoria_infra.roles.kit.rendering import Templates


def psql(database: str = "postgres") -> tuple[str, ...]:
    """The command: no startup file, bare output, stop at the first error."""
    return ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database)


def login_command(
    render: Templates, role: str, verifier: str, *, groups: tuple[str, ...] = (), reads_all: bool = False
) -> Command:
    """A role that logs in with a password of which the server gets the SCRAM verifier only.

    It is a member of ``groups`` and of nothing else. ``reads_all`` lets it read every row of every database and write
    none: dumps want that.
    """
    member = tuple(sorted((*groups, *(("pg_read_all_data",) if reads_all else ()))))
    return _step(render, "login", role, secret=True, role=role, verifier=verifier, member=member, reads_all=reads_all)


def groups_command(render: Templates, groups: tuple[str, ...]) -> Command:
    """The owner of our tables, and groups that rights in them are granted to. Nobody logs in as these."""
    return _step(render, "groups", "owner and groups", groups=groups)


def monitor_command(render: Templates, role: str) -> Command:
    """A role for the exporter: logs in through the socket as the system user of its name, and reads statistics."""
    return _step(render, "monitor", role, role=role)


def closed_command(render: Templates) -> Command:
    """Databases that every cluster has are for the superuser and the exporter: PUBLIC may not connect to them."""
    return _step(render, "closed", "postgres and template1")


def database_command(render: Templates, database: Database) -> Command:
    """A database with its owner. Exactly its users may connect, and nobody through PUBLIC."""
    return _step(render, "database", database.name, database=database)


def inside_command(render: Templates, database: Database) -> Command:
    """What is in a database besides tables: extensions, and nothing that PUBLIC may create."""
    return _step(render, "inside", database.name, connect=database.name, database=database)


def _step(
    render: Templates, what: str, which: str, *, connect: str = "postgres", secret: bool = False, **values: object
) -> Command:
    command = psql(connect)
    return Command(
        id=f"postgresql:{what}:{which}",
        check=command,
        check_stdin=render(f"postgresql/{what}.check.sql", **values),
        expect="t",
        apply=command,
        apply_stdin=render(f"postgresql/{what}.sql", **values),
        user="postgres",
        secret=secret,
    )
