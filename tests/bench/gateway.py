"""What the gateway adds to a request: credential, rate limits, audit row; against a bare ASGI echo in the same run.

Both are one uvicorn process with the same options. Requests go out at a fixed rate, whether or not answers come: a
server that is too slow shows it. PostgreSQL and Redis are real, on loopback; PostgreSQL does not wait for its disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

RATE = 300
SECONDS = 6.0
WARM = 50
"""Requests that are not counted."""
ECHO = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = (await receive()).get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body or b"{}"})
"""
SERVE = "import sys, uvicorn; uvicorn.run('echo:app', port=int(sys.argv[1]), http='httptools', access_log=False)"


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
        running.wait(30)


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """The gateway with its database and Redis: base URL, an API key, and its process."""
    from zentoria_schema import embedded

    password, redis_port, port = secrets.token_hex(8), free_port(), free_port()
    redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    redis += ["--user", "backend", "on", f">{password}", "~backend:*", "&backend:*", "+@all"]
    for name in ("database_password", "redis_password", "s3_secret_key"):
        (folder / name).write_text(password)
        (folder / name).chmod(0o600)
    with process(redis, redis_port), embedded.postgres_server() as postgres:
        database = postgres.migrated("zentoria_core", "zentoria_core")
        prefix = secrets.token_hex(4)
        key = f"zt_{prefix}_{secrets.token_urlsafe(32)}"
        with postgres.connect(database) as admin:
            row = admin.execute(
                "insert into users (email, role) values ('bench@example.org', 'owner') returning id"
            ).fetchone()
            if row is None:
                raise RuntimeError("no user")
            admin.execute(
                "insert into api_keys (user_id, name, prefix, key_hash, scopes) values (%s, 'bench', %s, %s, %s)",
                [row[0], prefix, hashlib.sha256(key.encode()).digest(), ["settings:read", "settings:write"]],
            )
        environment = {
            "PATH": os.environ["PATH"],
            "CREDENTIALS_DIRECTORY": str(folder),
            "ZENTORIA_HTTP_PORT": str(port),
            "ZENTORIA_WEBSOCKET_PORT": str(free_port()),
            "ZENTORIA_DATABASE_HOST": postgres.host,
            "ZENTORIA_DATABASE_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_DIRECT_PORT": str(postgres.port),
            "ZENTORIA_DATABASE_USER": "backend",
            "ZENTORIA_REDIS_HOST": "127.0.0.1",
            "ZENTORIA_REDIS_PORT": str(redis_port),
            "ZENTORIA_REDIS_USER": "backend",
            "ZENTORIA_CONTAINER_NAME": "backend",
            "ZENTORIA_S3_ENDPOINT": "http://127.0.0.1:1",
            "ZENTORIA_S3_ACCESS_KEY": "backend",
            "ZENTORIA_LIMIT_USER": "1000000",
            "ZENTORIA_LIMIT_KEY": "1000000",
            "ZENTORIA_LOG_LEVEL": "warning",
        }
        program = [sys.executable, "-c", "from zentoria_backend.main import run; run(['serve'])"]
        with process(program, port, env=environment, stderr=subprocess.DEVNULL) as running:
            yield f"http://127.0.0.1:{port}", key, running


async def load(url: str, method: str, headers: dict[str, str], body: bytes, seconds: float) -> dict[str, Any]:
    """Send ``RATE`` requests a second; how long answers took, in milliseconds from when each was due."""
    taken: list[float] = []
    wrong: dict[str, int] = {}

    async def one(session: aiohttp.ClientSession, number: int, due: float) -> None:
        try:
            async with session.request(method, url.replace("NUMBER", str(number % 50)), data=body) as answer:
                await answer.read()
                if answer.status >= 400:
                    wrong[str(answer.status)] = wrong.get(str(answer.status), 0) + 1
        except aiohttp.ClientError as error:
            wrong[type(error).__name__] = wrong.get(type(error).__name__, 0) + 1
        taken.append((time.perf_counter() - due) * 1000)

    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for number in range(WARM):  # connections, pools and caches are there before it counts
            await one(session, number, time.perf_counter())
        taken.clear()
        start = time.perf_counter() + 0.1
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(RATE * seconds)):
                due = start + number / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(session, number, due))
    taken.sort()
    return {
        "p50_ms": round(statistics.median(taken), 2),
        "p95_ms": round(taken[int(len(taken) * 0.95)], 2),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 2),
        "failed": sum(wrong.values()),
        **({"why": str(wrong)} if wrong else {}),
    }


def gateway_figures(seconds: float = SECONDS) -> dict[str, dict[str, Any]]:
    """Measure; empty where redis-server is not installed."""
    if shutil.which("redis-server") is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "echo.py").write_text(ECHO)
        port = free_port()
        program = [sys.executable, "-c", SERVE, str(port)]
        with process(program, port, cwd=folder, stderr=subprocess.DEVNULL), gateway(folder) as (base, key, running):
            memory = psutil.Process(running.pid)
            idle = memory.memory_info().rss >> 20
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            echo = asyncio.run(load(f"http://127.0.0.1:{port}/", "PUT", headers, b'{"value": 1}', seconds))
            found[f"bare echo, {RATE}/s"] = echo
            for title, method, path in (
                ("credential, limits", "GET", "/api/v1/settings/bench.NUMBER"),
                ("credential, limits, change, audit", "PUT", "/api/v1/settings/bench.NUMBER"),
            ):
                if method == "GET":  # what is read must be there
                    asyncio.run(load(f"{base}{path}", "PUT", headers, b'{"value": 1}', 0.1))
                body = b'{"value": 1}' if method == "PUT" else b""
                before = sum(memory.cpu_times()[:2])
                figures = asyncio.run(load(f"{base}{path}", method, headers, body, seconds))
                spent = sum(memory.cpu_times()[:2]) - before
                figures["cpu_ms_a_request"] = round(spent * 1000 / (RATE * seconds + WARM), 2)
                figures["p95_added_ms"] = round(figures["p95_ms"] - echo["p95_ms"], 2)
                found[f"gateway, {title}"] = figures
            found["gateway, memory"] = {"idle_mib": idle, "loaded_mib": memory.memory_info().rss >> 20}
    return found


if __name__ == "__main__":
    for what, figures in gateway_figures().items():
        print(f"{what:46}", figures)
