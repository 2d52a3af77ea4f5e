"""Dumps of a database before it changes, and the way back to one. Runs pg_dump, pg_restore and psql.

They connect like libpq does by its environment: in container 404 as the system user postgres, through the socket.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

KEEP = 2
"""Dumps of a database that stay."""
_NAME = re.compile(r"(?P<database>[a-z0-9_]+)-(?P<head>[0-9a-z]+)-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.dump")
_EMPTY = """
set lock_timeout = '60s';
drop schema if exists procrastinate cascade;
drop schema if exists public cascade;
create schema public authorization pg_database_owner;
grant usage on schema public to public;
"""


class DumpError(Exception):
    """A dump cannot be made or restored. Its text says what was tried and what came back."""


@dataclasses.dataclass(frozen=True, order=True)
class Dump:
    """A dump that was made.

    Args:
        stamp: when, as ``20261129T200000Z``.
        database: of which database.
        head: which migration the database had.
        path: where it lies.
    """

    stamp: str
    database: str
    head: str
    path: Path


def existing(folder: Path, database: str) -> tuple[Dump, ...]:
    """The dumps of ``database`` in ``folder``, newest first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and match["database"] == database:
            found.append(Dump(match["stamp"], database, match["head"], path))
    return tuple(sorted(found, reverse=True))


def make(folder: Path, database: str, head: str, environment: Mapping[str, str], *, spare: Dump | None = None) -> Dump:
    """Dump ``database``, which is at ``head``, into a file that only its owner reads; older ones than ``KEEP`` go.

    ``spare`` stays, however old it is.

    Raises:
        DumpError: pg_dump failed, or the disk is full; nothing of it stays.
    """
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"{database}-{head}-{stamp}.dump"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.part"):  # of a run that was killed
        left.unlink()
    descriptor, part = tempfile.mkstemp(".part", f"{database}-", folder)  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _run(["pg_dump", "--format=custom", "--dbname", database], environment, f"dump {database}", stdout=stream)
            os.fsync(stream.fileno())
        Path(part).rename(path)
    except OSError as error:
        raise DumpError(f"dump {database} to {path}: {error.strerror or error}") from error
    finally:
        Path(part).unlink(missing_ok=True)
    for old in existing(folder, database)[KEEP:]:
        if old != spare:
            old.path.unlink()
    return Dump(stamp, database, head, path)


def restore(dump: Dump, environment: Mapping[str, str]) -> None:
    """Make the database what it was: all or nothing, in one transaction. What came later is lost.

    Raises:
        DumpError: PostgreSQL refused; the database is as it was.
    """
    with tempfile.TemporaryFile() as script:
        script.write(_EMPTY.encode())
        script.flush()
        _run(["pg_restore", "--file=-", str(dump.path)], environment, f"read {dump.path}", stdout=script)
        script.seek(0)
        psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d", dump.database]
        _run(psql, environment, f"restore {dump.database} from {dump.path}", stdin=script)


def _run(
    words: list[str],
    environment: Mapping[str, str],
    doing: str,
    *,
    stdin: object = subprocess.DEVNULL,
    stdout: object = subprocess.DEVNULL,
) -> None:
    try:
        done = subprocess.run(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            env=dict(environment),  # type: ignore[call-overload] # streams
        )
    except FileNotFoundError as error:
        raise DumpError(f"{doing}: there is no program {words[0]}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DumpError(f"{doing}: {words[0]} exited with {done.returncode}: {' '.join(said[-5:]) or 'no word'}")
