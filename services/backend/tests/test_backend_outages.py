"""Each dependency away, and back: what can go on goes on, the rest is 503 with Retry-After, nothing is restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from gateway_kit import AuthService, World
from real_servers import RedisServer
from zentoria_schema import embedded

PATIENCE = 30.0
pytestmark = pytest.mark.slow  # breakers and timeouts are waited for


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Servers of this module's own, which it may stop."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    with embedded.postgres_server() as postgres:
        name = postgres.migrated("zentoria_core", "zentoria_core")
        world = World(postgres, name, redis, AuthService(), postgres.connect(name))
        yield world
        world.admin.close()
        for process in world.started:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE)
    redis.stop()


@contextlib.contextmanager
def paused(world: World) -> Iterator[None]:
    """PostgreSQL is stopped at once, its connections cut; afterwards it is started again at the same port."""
    pid = int((world.postgres.folder / "data/postmaster.pid").read_text().split()[0])
    process = Path(f"/proc/{pid}")
    command = process.joinpath("cmdline").read_bytes().decode().rstrip("\0").split("\0")
    owner = process.stat()
    os.kill(pid, signal.SIGQUIT)
    while process.exists() and "Z" not in process.joinpath("stat").read_text().rpartition(")")[2][:3]:
        time.sleep(0.02)
    yield
    mine = os.geteuid() == owner.st_uid
    again = subprocess.Popen(
        command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=None if mine else owner.st_uid, group=None if mine else owner.st_gid, extra_groups=None if mine else [],
    )  # fmt: skip
    world.started.append(again)
    world.admin.close()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            world.admin = world.postgres.connect(world.database)
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def recovered(client: httpx2.AsyncClient, method: str, path: str, **arguments: object) -> httpx2.Response:
    """The first answer that is no 503."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = await client.request(method, path, **arguments)  # type: ignore[arg-type] # by name
        if answer.status_code != 503 or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(0.1)  # as a client does that is told to come again


def is_503(answer: httpx2.Response, service: str) -> bool:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    return bool(answer.json()["service"] == service)


@pytest.mark.asyncio
async def test_redis_away(world: World) -> None:
    person = world.person()
    world.auth.answers["POST", "login"] = (401, {"type": "/problems/bad-credentials", "status": 401})
    sign_in = {"email": "ada@example.org", "password": "x"}
    body = {"name": "x", "scopes": ["keys:read"]}
    keyed = {**person.headers, "Idempotency-Key": str(uuid.uuid4())}
    async with world.client(dependency_timeout=0.5) as client:
        assert (await client.post("/api/v1/auth/login", json=sign_in)).status_code == 401
        world.redis.stop(signal.SIGKILL)
        for _ in range(10):
            answer = await client.get("/api/v1/keys", headers=person.headers)
            assert answer.status_code == 200
            assert '"user";q=' in answer.headers["ratelimit-policy"]
        assert (await client.post("/api/v1/keys", json=body, headers=person.headers)).status_code == 201
        assert is_503(await client.post("/api/v1/auth/login", json=sign_in), "redis")
        assert is_503(await client.post("/api/v1/auth/refresh", json={"refresh_token": "ztr_f_s"}), "redis")
        assert is_503(await client.post("/api/v1/keys", json=body, headers=keyed), "redis")
        world.redis.start()
        assert (await recovered(client, "POST", "/api/v1/auth/login", json=sign_in)).status_code == 401
        assert (await recovered(client, "POST", "/api/v1/keys", json=body, headers=keyed)).status_code == 201


@pytest.mark.asyncio
async def test_redis_that_hangs_does_not_hang_reads(world: World) -> None:
    person = world.person()
    async with world.client(dependency_timeout=0.3) as client:
        assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200
        assert world.redis.process is not None
        world.redis.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            for _ in range(60):
                assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200
            # three tries of 0.3 s open the breaker for two seconds; without it each of the 60 would wait
            assert time.monotonic() - start < 60 * 0.3
        finally:
            world.redis.process.send_signal(signal.SIGCONT)


@pytest.mark.asyncio
async def test_postgresql_away(world: World) -> None:
    person = world.person()
    world.auth.answers["POST", "login"] = (401, {"type": "/problems/bad-credentials", "status": 401})
    sign_in = {"email": "ada@example.org", "password": "x"}
    key = world.key(person.id, "keys:read")
    async with world.client(dependency_timeout=1.0) as client:
        assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200
        with paused(world):
            assert is_503(await client.get("/api/v1/keys", headers=person.headers), "database")
            assert is_503(await client.get("/api/v1/keys", headers={"X-API-Key": key}), "database")
            forged = {"Authorization": f"Bearer {person.token[:-2]}xx"}
            assert (await client.get("/api/v1/keys", headers=forged)).status_code == 401  # though no row says so
            assert (await client.post("/api/v1/auth/login", json=sign_in)).status_code == 401
            assert (await client.get("/api/v1/health/live")).status_code == 200
        for headers in (person.headers, {"X-API-Key": key}):
            assert (await recovered(client, "GET", "/api/v1/keys", headers=headers)).status_code == 200


@pytest.mark.asyncio
async def test_the_auth_service_away(world: World) -> None:
    person = world.person()
    sign_in = {"email": "ada@example.org", "password": "x"}
    async with world.client() as client:
        world.auth.away = True
        assert is_503(await client.get("/api/v1/keys", headers=person.headers), "auth")  # no keys are known yet
        world.auth.away = False
        assert (await recovered(client, "GET", "/api/v1/keys", headers=person.headers)).status_code == 200
        world.auth.away = True
        assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200  # they are known now
        for _ in range(5):
            assert is_503(await client.post("/api/v1/auth/login", json=sign_in), "auth")
        asked = len(world.auth.asked)
        world.auth.away = False
        assert is_503(await client.post("/api/v1/auth/login", json=sign_in), "auth")  # it is not asked for a while
        assert len(world.auth.asked) == asked
        world.auth.answers["POST", "login"] = (401, {"type": "/problems/bad-credentials", "status": 401})
        assert (await recovered(client, "POST", "/api/v1/auth/login", json=sign_in)).status_code == 401
