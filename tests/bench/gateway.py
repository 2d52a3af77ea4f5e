"""What the gateway adds to a request: credential, rate limits, audit row; against a bare ASGI echo in the same run.

The gateway runs as it does in its container, with two workers, and the auth service beside it; the echo is one uvicorn
process. Requests go out at a fixed rate, whether or not answers come: a server that is too slow shows it. PostgreSQL
and Redis are real, on loopback; PostgreSQL does not wait for its disk. ``cpu_ms`` is what all the gateway's processes
spent on a request, and does not depend on what else the machine does.

``.venv/bin/python -m tests.bench.gateway [SECONDS]`` runs it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.bench.raw_client import Taken, ask, closed_loop, open_loop, request

RATE = 300
SIGN_INS = 20
SECONDS = 6.0
WORKERS = 2
EMAIL, PASSWORD = "bench@example.org", "correct horse battery staple"
ECHO = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = (await receive()).get("body", b"") or b"{}"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
SERVE = "import sys, uvicorn; uvicorn.run('echo:app', port=int(sys.argv[1]), http='httptools', access_log=False)"
REVISION = "2026-07-28"


@dataclasses.dataclass(frozen=True)
class Stand:
    """What is measured."""

    echo: int
    gateway: int
    """Ports."""
    key: str
    process: psutil.Process

    def processes(self) -> list[psutil.Process]:
        """All of the gateway: the parent and its workers."""
        return [self.process, *self.process.children()]

    def cpu(self) -> float:
        """Seconds that they have spent."""
        return sum(sum(one.cpu_times()[:2]) for one in self.processes())

    def memory(self) -> dict[str, int]:
        """MiB: resident, of the largest process; and of all together, where what they share counts once (PSS)."""
        full = [one.memory_full_info() for one in self.processes()]
        return {
            "largest_process_mib": max(one.rss for one in full) >> 20,
            "whole_service_mib": sum(one.pss for one in full) >> 20,
        }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def process(arguments: list[str], port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program, from when it listens until the block ends."""
    running = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{arguments[0]} does not answer on port {port}")
            time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        running.wait(60)


@contextlib.contextmanager
def standing(folder: Path, *, workers: int = WORKERS, **settings: str) -> Iterator[Stand]:
    """Start everything: echo, Redis, PostgreSQL, the auth service, the gateway; with an account and a key of it."""
    from zentoria_schema import embedded

    (folder / "echo.py").write_text(ECHO)
    password, redis_port, echo, port, auth = secrets.token_hex(8), *(free_port() for _ in range(4))
    redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    for user in ("backend", "auth"):
        redis += ["--user", user, "on", f">{password}", f"~{user}:*", f"&{user}:*", "+@all"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(process([sys.executable, "-c", SERVE, str(echo)], echo, cwd=folder, stderr=-3))
        stack.enter_context(process(redis, redis_port))
        postgres = stack.enter_context(embedded.postgres_server())
        database = postgres.migrated("zentoria_core", "zentoria_core")
        environment = {
            "PATH": os.environ["PATH"],
            "CREDENTIALS_DIRECTORY": str(folder),
            "ZENTORIA_DATABASE_HOST": postgres.host,
            "ZENTORIA_DATABASE_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_DIRECT_PORT": str(postgres.port),
            "ZENTORIA_REDIS_HOST": "127.0.0.1",
            "ZENTORIA_REDIS_PORT": str(redis_port),
            "ZENTORIA_PUBLIC_URL": f"http://localhost:{port}",
            "ZENTORIA_LOG_LEVEL": "info",
        }
        _secrets(folder, password)
        own = {
            "ZENTORIA_HTTP_PORT": str(port), "ZENTORIA_WEBSOCKET_PORT": str(free_port()),
            "ZENTORIA_AUTH_URL": f"http://127.0.0.1:{auth}", "ZENTORIA_WORKERS": str(workers),
            "ZENTORIA_DATABASE_USER": "backend", "ZENTORIA_REDIS_USER": "backend",
            "ZENTORIA_CONTAINER_NAME": "backend", "ZENTORIA_IDENTITY_KEY_FILE": str(folder / "identity_key"),
            "ZENTORIA_S3_ENDPOINT": "http://127.0.0.1:1", "ZENTORIA_S3_ACCESS_KEY": "backend",
            **{f"ZENTORIA_LIMIT_{name}": "1000000" for name in ("USER", "KEY", "ADDRESS", "SIGN_IN")}, **settings,
        }  # fmt: skip
        others = {
            "ZENTORIA_HTTP_PORT": str(auth), "ZENTORIA_DATABASE_USER": "auth", "ZENTORIA_REDIS_USER": "auth",
            "ZENTORIA_CONTAINER_NAME": "auth", "ZENTORIA_CALLERS_FILE": str(folder / "callers.json"),
        }  # fmt: skip
        log = stack.enter_context((folder / "log").open("wb"))
        for name, port_of, given in (("auth", auth, others), ("backend", port, own)):
            program = [sys.executable, "-c", f"from zentoria_{name}.main import run; run(['serve'])"]
            running = stack.enter_context(process(program, port_of, env=environment | given, stderr=log))
        key = asyncio.run(_account(postgres, database, environment | others, folder))
        yield Stand(echo, port, key, psutil.Process(running.pid))


def _secrets(folder: Path, password: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from joserfc.jwk import OKPKey
    from pydantic import SecretStr
    from zentoria_common.identity import Identity

    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    identity = OKPKey.generate_key("Ed25519").as_pem(private=True).decode()
    files = dict.fromkeys(("database_password", "redis_password", "s3_secret_key", "seal_key"), password)
    files |= {"jwt_key": ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()}
    files |= {"identity_key": identity}
    files |= {"callers.json": json.dumps({"keys": [Identity("backend", SecretStr(identity)).public_jwk()]})}
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)


async def _account(postgres: Any, database: str, environment: dict[str, str], folder: Path) -> str:
    """Make the account as its owner would, and an API key; returns the key."""
    from zentoria_auth.peer import Peer
    from zentoria_auth.services import make_services
    from zentoria_auth.settings import Secrets, Settings
    from zentoria_common.settings import PREFIX, read_secrets

    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if PREFIX in name}
    settings = Settings.model_validate({name: each for name, each in given.items() if name in Settings.model_fields})
    services = make_services(settings, read_secrets(Secrets, settings, {"CREDENTIALS_DIRECTORY": str(folder)}))
    async with services.running():
        link = await services.setup.first_run(Peer(), "service:bench")
        await services.setup.complete(link.url.partition("token=")[2], EMAIL, "Bench", PASSWORD, Peer())
    await services.database.close()
    await services.redis.aclose()
    prefix = secrets.token_hex(4)
    key = f"zt_{prefix}_{secrets.token_urlsafe(32)}"
    scopes = ["settings:read", "settings:write", "files:read"]
    with postgres.connect(database) as admin:
        admin.execute(
            "insert into api_keys (user_id, name, prefix, key_hash, scopes)"
            " select id, 'bench', %s, %s, %s from users where email = %s",
            [prefix, hashlib.sha256(key.encode()).digest(), scopes, EMAIL],
        )
    return key


def change(stand: Stand, number: int) -> bytes:
    """A write: credential, limits, a change and its audit row."""
    headers = {"authorization": f"Bearer {stand.key}", "content-type": "application/json"}
    return request("PUT", f"/api/v1/settings/bench.{number % 50}", headers, b'{"value": 1}')


def read(stand: Stand, number: int) -> bytes:
    """A read: credential and limits."""
    return request("GET", f"/api/v1/settings/bench.{number % 50}", {"authorization": f"Bearer {stand.key}"})


def tool_call(stand: Stand, number: int) -> bytes:
    """A call of a tool that reads, as a client of the newest revision sends it; with its audit row."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    parameters = {"name": "files_list", "arguments": {"limit": 20}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": parameters}).encode()
    headers = {
        "host": f"localhost:{stand.gateway}", "authorization": f"Bearer {stand.key}",
        "content-type": "application/json", "accept": "application/json, text/event-stream",
        "mcp-protocol-version": REVISION, "mcp-method": "tools/call", "mcp-name": "files_list",
    }  # fmt: skip
    return request("POST", "/mcp", headers, body)


def sign_in(number: int) -> bytes:
    """A password and its check."""
    body = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()
    return request("POST", "/api/v1/auth/login", {"content-type": "application/json"}, body)


def measured(stand: Stand, work: Callable[[], Coroutine[Any, Any, Taken]]) -> dict[str, Any]:
    """Run it; with what the gateway spent on each request."""
    before = stand.cpu()
    taken = asyncio.run(work())
    spent = stand.cpu() - before
    return taken.figures() | {"cpu_ms": round(spent * 1000 / len(taken.milliseconds), 2)}


def gateway_figures(seconds: float = SECONDS) -> dict[str, dict[str, Any]]:
    """Measure; empty where redis-server is not installed."""
    if shutil.which("redis-server") is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="zentoria-bench-") as name, standing(Path(name)) as stand:
        found["gateway, memory idle"] = stand.memory()
        at = stand.gateway
        echoed = request("PUT", "/", {"authorization": f"Bearer {stand.key}"}, b'{"value": 1}')
        echo = asyncio.run(open_loop(stand.echo, lambda _: echoed, RATE, seconds)).figures()
        found[f"bare echo, {RATE}/s"] = echo
        kinds: dict[str, Callable[[Stand, int], bytes]] = {
            "credential, limits, change, audit": change,
            "credential, limits": read,
        }
        alone = {}
        for title, make in kinds.items():
            one = measured(stand, lambda make=make: open_loop(at, lambda n: make(stand, n), RATE, seconds))  # type: ignore[misc]
            one["p95_added_ms"] = round(one["p95_ms"] - echo["p95_ms"], 2)
            alone[title] = one["p95_ms"]
            found[f"gateway, {title}, {RATE}/s"] = one
        status, answer = asyncio.run(ask(at, tool_call(stand, 1)))
        if status != 200 or "result" not in answer:
            raise RuntimeError(f"/mcp answered {status} {answer}")
        found["gateway, /mcp tools/call"] = measured(
            stand, lambda: closed_loop(at, lambda n: tool_call(stand, n), seconds)
        )

        async def both() -> tuple[Taken, Taken]:
            signing = open_loop(at, sign_in, SIGN_INS, seconds, warm=2)
            return await asyncio.gather(signing, open_loop(at, lambda n: read(stand, n), RATE / 3, seconds))

        signed, beside = (taken.figures() for taken in asyncio.run(both()))
        found[f"gateway, {SIGN_INS} sign-ins/s"] = signed
        quiet = asyncio.run(open_loop(at, lambda n: read(stand, n), RATE / 3, seconds)).figures()
        found["gateway, reads beside sign-ins"] = beside | {"p95_without_ms": quiet["p95_ms"]}
        found["gateway, memory loaded"] = stand.memory()
    return found


if __name__ == "__main__":
    for what, figures in gateway_figures(*(float(one) for one in sys.argv[1:2])).items():
        print(f"{what:56}", figures)
