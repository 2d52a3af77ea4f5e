"""One of our services alone on this machine: ``make dev-auth``, ``make dev-backend``.

It has a PostgreSQL, a Redis and, where it wants one, an S3 server of its own, on loopback, with an account that may do
everything. All of it is gone when it ends (Ctrl-C); nothing of it is safe against others on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import argon2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import SecretStr
from real_servers import RedisServer, S3Server
from zentoria_common.identity import Identity
from zentoria_common.scopes import SCOPES
from zentoria_schema import embedded

EMAIL = "owner@zentoria.test"
DATABASE = "zentoria_core"
PORTS: Mapping[str, Mapping[str, int]] = {"auth": {"http": 9000}, "backend": {"http": 4000, "websocket": 4001}}


@dataclasses.dataclass(frozen=True)
class Account:
    """The account that is there from the start, with secrets that were made for this one start."""

    email: str
    password: str
    api_key: str


@dataclasses.dataclass(frozen=True)
class Ground:
    """What a service stands on.

    Args:
        environment: its settings.
        account: who may sign in.
    """

    environment: Mapping[str, str]
    account: Account


@contextlib.contextmanager
def ground(service: str, ports: Mapping[str, int]) -> Iterator[Ground]:
    """Start the servers that a service needs, and stop them in the end.

    Args:
        service: ``auth`` or ``backend``.
        ports: where it shall listen, by name.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"zentoria-dev-{service}-")))
        postgres = stack.enter_context(embedded.postgres_server())
        postgres.migrated(DATABASE, DATABASE)
        account = seed(postgres)
        redis = RedisServer(_made(folder / "redis"))
        stack.callback(redis.stop)
        redis.start()
        files = keys() | {"database_password": "unused", "redis_password": redis.password(service)}
        variables = {
            "ZENTORIA_CONTAINER_NAME": service,
            "ZENTORIA_PUBLIC_URL": f"http://localhost:{ports['http']}",
            "ZENTORIA_DATABASE_HOST": postgres.host,
            "ZENTORIA_DATABASE_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_NAME": DATABASE,
            "ZENTORIA_DATABASE_USER": service,
            **{f"ZENTORIA_{name.upper()}_PORT": str(port) for name, port in ports.items()},
            **redis.environment(service),
        }
        if service == "backend":
            s3 = S3Server(_made(folder / "s3"))
            stack.callback(s3.stop)
            s3.start()
            files["s3_secret_key"] = s3.secret_key(service)
            variables |= s3.environment(service)
        credentials = _made(folder / "credentials")
        for name, text in files.items():
            (credentials / name).touch(0o600)
            (credentials / name).write_text(text)
        # Each service has its key here, so each may call the other where both are started.
        callers = credentials / "callers.json"
        callers.write_text(json.dumps({"keys": [Identity("backend", SecretStr(files["identity_key"])).public_jwk()]}))
        variables |= {"CREDENTIALS_DIRECTORY": str(credentials), "ZENTORIA_CALLERS_FILE": str(callers)}
        yield Ground(variables, account)


def run(service: str, ports: Mapping[str, int]) -> int:
    """Run a service until it ends or is told to; returns its exit code."""
    with ground(service, ports) as found:
        program = Path(sys.executable).with_name(f"zentoria-{service}")
        process = subprocess.Popen([program, "serve"], env=os.environ | found.environment)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: process.send_signal(signal.SIGTERM))
        print(_told(service, ports, found.account), file=sys.stderr, flush=True)
        return process.wait()


def _told(service: str, ports: Mapping[str, int], account: Account) -> str:
    url = f"http://localhost:{ports['http']}"
    where = f"{url}/auth/sign-in" if service == "auth" else f"{url}/api/v1/openapi.json"
    return (
        f"zentoria-{service} at {where} (Ctrl-C ends it, and all its data are gone)\n"
        f"  account: {account.email}, password: {account.password}\n"
        f"  API key of that account, with every scope: {account.api_key}"
    )


def seed(postgres: embedded.PostgresServer) -> Account:
    """Make an account of an owner, with an API key."""
    prefix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(8))
    account = Account(EMAIL, secrets.token_urlsafe(12), f"zt_{prefix}_{secrets.token_urlsafe(32)}")
    with postgres.connect(DATABASE) as connection:
        row = connection.execute(
            "INSERT INTO users (email, email_verified_at, name, role, password_hash, password_changed_at)"
            " VALUES (%s, now(), 'Owner', 'owner', %s, now()) RETURNING id",
            [account.email, argon2.PasswordHasher().hash(account.password)],
        ).fetchone()
        assert row is not None  # noqa: S101 - RETURNING gives one
        connection.execute(
            "INSERT INTO api_keys (user_id, name, prefix, key_hash, scopes) VALUES (%s, 'first', %s, %s, %s)",
            [row[0], prefix, hashlib.sha256(account.api_key.encode()).digest(), sorted(SCOPES)],
        )
    return account


def keys() -> dict[str, str]:
    """New keys of a service, by the names of their files."""
    made = {"identity_key": ed25519.Ed25519PrivateKey.generate(), "jwt_key": ec.generate_private_key(ec.SECP256R1())}
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {name: key.private_bytes(*form).decode() for name, key in made.items()} | {
        "seal_key": secrets.token_urlsafe(32)
    }


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="dev", description="Run one of our services alone on this machine.")
    parser.add_argument("service", choices=sorted(PORTS))
    parser.add_argument("--port", type=int, help="of its first port; further ones follow")
    options = parser.parse_args(arguments)
    ports = dict(PORTS[options.service])
    if options.port:
        ports = {name: options.port + number for number, name in enumerate(ports)}
    return run(options.service, ports)


if __name__ == "__main__":
    sys.exit(main())
