"""The web application, the gateway and the auth service together on this machine: ``make dev-frontend``, browser tests.

All stand on one PostgreSQL, one Redis and one S3 server of their own, on loopback, with an account that may do
everything. All of it is gone when it ends; nothing of it is safe against others on this machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dev
import httpx2
from pydantic import SecretStr
from real_servers import RedisServer, S3Server, free_ports
from zentoria_common.identity import Identity
from zentoria_schema import embedded

from zentoria_infra.inventory.component_model import WorkspaceComponent
from zentoria_infra.inventory.load import load
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.artifacts.origin import archive_of

PATIENCE = 240.0
"""Seconds for all to answer: five servers start at once, on a machine that has much else to do."""
ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Together:
    """What runs.

    Args:
        url: of the web application.
        gateway: of the gateway.
        account: who may sign in.
        logs: a folder with what each said.
    """

    url: str
    gateway: str
    account: dev.Account
    logs: Path


def application(into: Path) -> Path:
    """The web application as it is shipped, unpacked: built if its sources changed; returns its folder.

    Raises:
        ArtifactError: it cannot be built.
    """
    site = load(ROOT, None)
    component = site.component(site.by_name("frontend").service("web"))
    if not isinstance(component, WorkspaceComponent):
        raise TypeError(f"the frontend comes from {component}")
    cache = BlobCache()
    made = archive_of(component, cache, root=ROOT, program="frontend")
    with tarfile.open(cache.path(made.content.blob)) as archive:  # type: ignore[union-attr] # it is an archive
        # Python 3.11 has filters from its fourth patch on; the archive is our own
        archive.extractall(into, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]  # noqa: S202
    return into


@contextlib.contextmanager
def together(app: Path | None = None, variables: Mapping[str, str] | None = None) -> Iterator[Together]:
    """Start all of it, and stop it in the end.

    Args:
        app: the folder of a built application; None: it is built, or taken from the cache.
        variables: further ones of the gateway's.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zentoria-dev-")))
        app = app or application(folder / "app")
        postgres = stack.enter_context(embedded.postgres_server())
        postgres.migrated(dev.DATABASE, dev.DATABASE)
        account = dev.seed(postgres)
        redis = RedisServer(_made(folder / "redis"))
        stack.callback(redis.stop)
        redis.start()
        s3 = S3Server(_made(folder / "s3"))
        stack.callback(s3.stop)
        s3.start()
        web, auth, http, socket = free_ports(4)
        keys = {name: dev.keys() for name in ("auth", "backend")}
        callers = folder / "callers.json"
        gateway_key = Identity("backend", SecretStr(keys["backend"]["identity_key"])).public_jwk()
        callers.write_text(json.dumps({"keys": [gateway_key]}))
        shared = {
            "ZENTORIA_PUBLIC_URL": f"http://localhost:{web}",
            "ZENTORIA_DATABASE_HOST": postgres.host,
            "ZENTORIA_DATABASE_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_DIRECT_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_NAME": dev.DATABASE,
            "ZENTORIA_CALLERS_FILE": str(callers),
        }
        logs = _made(folder / "logs")
        for name, own in {
            "auth": {"ZENTORIA_HTTP_PORT": str(auth)},
            "backend": {
                "ZENTORIA_HTTP_PORT": str(http),
                "ZENTORIA_WEBSOCKET_PORT": str(socket),
                "ZENTORIA_AUTH_URL": f"http://127.0.0.1:{auth}",
                "ZENTORIA_TRUSTED_PROXIES": "127.0.0.1",
                **s3.environment("backend"),
                **(variables or {}),
            },
        }.items():
            secret = {"database_password": "unused", "redis_password": redis.password(name), **keys[name]}
            if name == "backend":
                secret["s3_secret_key"] = s3.secret_key(name)
            credentials = _made(folder / f"{name}-credentials")
            for file, text in secret.items():
                (credentials / file).touch(0o600)
                (credentials / file).write_text(text)
            given = {
                **shared,
                **redis.environment(name),
                **own,
                "ZENTORIA_CONTAINER_NAME": name,
                "ZENTORIA_DATABASE_USER": name,
                "CREDENTIALS_DIRECTORY": str(credentials),
            }
            program = str(Path(sys.executable).with_name(f"zentoria-{name}"))
            stack.enter_context(_running([program, "serve"], given, logs / name, folder))
        given = {
            "NODE_ENV": "production",
            "HOSTNAME": "127.0.0.1",
            "PORT": str(web),
            "ZENTORIA_GATEWAY_URL": f"http://127.0.0.1:{http}",
            "ZENTORIA_PUBLIC_URL": f"http://localhost:{web}",
            "STATE_DIRECTORY": str(_made(folder / "state")),
        }
        stack.enter_context(_running([str(app / "bin/node"), "serve.mjs"], given, logs / "frontend", app))
        gateway = f"http://127.0.0.1:{http}"
        _wait(f"http://127.0.0.1:{auth}/health", logs / "auth")
        _wait(f"{gateway}/api/v1/health", logs / "backend")
        _wait(f"http://127.0.0.1:{web}/health", logs / "frontend")
        yield Together(f"http://localhost:{web}", gateway, account, logs)


@contextlib.contextmanager
def _running(command: list[str], variables: Mapping[str, str], log: Path, folder: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=os.environ | variables, cwd=folder, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(url, timeout=5).status_code == 200:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not answer; it said:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def main() -> int:
    """Run until one presses Ctrl-C."""
    with together(Path(sys.argv[1]) if sys.argv[1:] else None) as found:
        print(f"{found.url} (Ctrl-C ends it, and all its data are gone)", file=sys.stderr)
        print(f"  account: {found.account.email}, password: {found.account.password}", file=sys.stderr, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
