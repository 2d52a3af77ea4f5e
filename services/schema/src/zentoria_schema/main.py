"""The console script ``zentoria-schema``: migrations, dumps and the audit trail of the databases.

It connects as libpq does (PGHOST, PGPORT, PGUSER, PGPASSFILE), past PgBouncer: in container 404 as the system user
postgres through the socket. Answers are JSON on standard output, trouble is a line on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
from alembic.util import CommandError
from sqlalchemy import URL, Engine, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from zentoria_schema import __version__, audit_chain, dumps, head
from zentoria_schema.migrate import Migrated, current, migrate

ALL = tuple(sorted(head.DATABASES))


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Ends the process with 0, 1 (failed, or not as it shall be) or 2 (usage)."""
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.run(options))
    except (SQLAlchemyError, psycopg.Error, CommandError, dumps.DumpError, OSError) as error:
        sys.stderr.write(f"zentoria-schema: {options.command}: {_words(error)}\n")
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zentoria-schema", description="Tables and migrations of Zentoria's databases."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help_: str, does: object) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_)
        made.set_defaults(run=does)
        return made

    command("heads", "the migration that each database shall have", _heads)
    for name, help_, does in (
        ("current", "the migration that each database has", _current),
        ("check", "exit 1 unless each database has the migration that it shall have", _check),
    ):
        command(name, help_, does).add_argument("--database", action="append", choices=ALL)
    made = command("migrate", "bring databases to a migration, each in one transaction", _migrate)
    made.add_argument("--database", action="append", choices=ALL, help="default: all")
    made.add_argument("--to", default="head", metavar="REVISION", help="default: the newest; 'base' removes all tables")
    made.add_argument("--dumps", type=Path, metavar="FOLDER", help="dump a database here before it changes")
    made = command("restore", "go back to the newest dump of a database: what is there now is dumped first", _restore)
    made.add_argument("--database", required=True, choices=ALL)
    made.add_argument("--dumps", type=Path, required=True, metavar="FOLDER")
    made.add_argument("--head", metavar="REVISION", help="the newest dump of this migration")
    command("audit-export", "the audit trail, a line of JSON a row", _audit_export)
    made = command("audit-verify", "verify an exported trail, without a database", _audit_verify)
    made.add_argument("file", type=Path)
    made.add_argument("--part", action="store_true", help="it does not begin with the first row")
    return parser


def _engine(database: str) -> Engine:
    # Without a host libpq looks for a socket where its own build has it, which need not be where Debian has it.
    host = os.environ.get("PGHOST", "/run/postgresql")
    return create_engine(URL.create("postgresql+psycopg", database=database, query={"host": host}), poolclass=NullPool)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _heads(_: argparse.Namespace) -> int:
    _say({name: head.expected(name) for name in ALL})
    return 0


def _is(database: str) -> str | None:
    with _engine(database).connect() as connection:
        return current(connection)


def _current(options: argparse.Namespace) -> int:
    _say({name: _is(name) for name in options.database or ALL})
    return 0


def _check(options: argparse.Namespace) -> int:
    found = [trouble for name in options.database or ALL if (trouble := head.trouble(name, _is(name)))]
    sys.stderr.writelines(f"zentoria-schema: check: {one}\n" for one in found)
    return 1 if found else 0


def _migrate(options: argparse.Namespace) -> int:
    for name in options.database or ALL:
        before = _is(name)
        dump = None
        if options.dumps is not None and before is not None and before != _goal(name, options.to):
            dump = dumps.make(options.dumps, name, before, _environment())
        done: Migrated = migrate(_engine(name), name, options.to)
        _say({"database": name, "before": done.before, "after": done.after, "dump": str(dump.path) if dump else None})
    return 0


def _goal(database: str, target: str) -> str:
    return head.expected(database) if target == "head" else target


def _environment() -> dict[str, str]:
    return {"PGHOST": "/run/postgresql", **os.environ}


def _restore(options: argparse.Namespace) -> int:
    found = dumps.existing(options.dumps, options.database)
    chosen = next((one for one in found if options.head in (None, one.head)), None)
    if chosen is None:
        kept = ", ".join(f"{one.head} of {one.stamp}" for one in found) or "none"
        raise dumps.DumpError(f"there is no such dump of {options.database} in {options.dumps}; there are: {kept}")
    before = _is(options.database)
    if before is not None:
        dumps.make(options.dumps, options.database, before, _environment(), spare=chosen)
    dumps.restore(chosen, _environment())
    _say({"database": options.database, "before": before, "after": _is(options.database), "dump": str(chosen.path)})
    return 0


def _audit_export(_: argparse.Namespace) -> int:
    with _engine("zentoria_core").connect() as connection:
        rows = connection.execution_options(yield_per=1000).execute(text(audit_chain.EXPORT.replace(":", r"\:")))
        for (line,) in rows:
            sys.stdout.write(line + "\n")
    return 0


def _audit_verify(options: argparse.Namespace) -> int:
    with options.file.open(encoding="utf-8", errors="replace") as lines:
        verdict = audit_chain.verify(lines, whole=not options.part)
    _say({"rows": verdict.rows, "first": verdict.first, "last": verdict.last, "hash": verdict.hash})
    if verdict.broken is not None:
        broken = verdict.broken
        sys.stderr.write(f"zentoria-schema: line {broken.line}, row {broken.id or '?'}: {broken.reason}\n")
        return 1
    return 0


def _words(error: Exception) -> str:
    """The error in one line: the driver's own words, without the statement."""
    told = getattr(error, "orig", None) or error
    return " ".join(str(told).split())
