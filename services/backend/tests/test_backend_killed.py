"""The gateway killed at moments of an upload: nothing is half there, and no job is lost."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from files_kit import MIB, objects
from gateway_kit import AuthService, World
from real_servers import RedisServer, S3Server, free_ports
from zentoria_backend.files.store import ObjectStore
from zentoria_schema.embedded import PostgresServer

STANDSTILL = 180.0
"""Seconds in which nothing of what is left settles: nothing will. One step takes about four on an idle machine."""


@pytest.fixture(scope="module")
def stored(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, s3_server: S3Server
) -> Iterator[World]:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin, s3_server)


class Gateway:
    """The program itself, as systemd runs it."""

    def __init__(self, world: World, folder: Path) -> None:
        assert world.s3 is not None
        self.folder = folder
        self.http, websocket = free_ports(2)
        for name in ("database_password", "redis_password", "s3_secret_key"):
            (folder / name).write_text(getattr(world.secrets, name).get_secret_value())
            (folder / name).chmod(0o600)
        self.environment = {
            "PATH": os.environ["PATH"],
            "CREDENTIALS_DIRECTORY": str(folder),
            **world.s3.environment("backend"),
            **world.redis.environment("backend"),
            "ZENTORIA_DATABASE_HOST": world.postgres.host,
            "ZENTORIA_DATABASE_PORT": str(world.postgres.port),
            "ZENTORIA_DATABASE_DIRECT_PORT": str(world.postgres.port),
            "ZENTORIA_DATABASE_NAME": world.database,
            "ZENTORIA_DATABASE_USER": "backend",
            "ZENTORIA_CONTAINER_NAME": "backend",
            "ZENTORIA_HTTP_PORT": str(self.http),
            "ZENTORIA_WEBSOCKET_PORT": str(websocket),
            "ZENTORIA_MAX_BODY_BYTES": str(64 * MIB),
            "ZENTORIA_SWEEP_SECONDS": "0.5",
            "ZENTORIA_JOB_STALLED_SECONDS": "3",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from zentoria_backend.main import run; run(['serve'])"],
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + STANDSTILL
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.http)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < until, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def send(gateway: Gateway, headers: dict[str, str], data: bytes, moment: float, arrived: threading.Event) -> int:
    """Upload ``data``; after this share of it, say so. The status, or 0 where the connection broke."""

    def body() -> Iterator[bytes]:
        for at in range(0, len(data), 256 * 1024):
            if at >= moment * len(data):
                arrived.set()
                time.sleep(0.002)
            yield data[at : at + 256 * 1024]
        arrived.set()

    try:
        with httpx2.Client(timeout=STANDSTILL, trust_env=False) as client:
            answer = client.put(
                f"{gateway.url}/api/v1/uploads", params={"filename": "a.bin"}, content=body(), headers=headers
            )
        return answer.status_code
    except httpx2.HTTPError:
        return 0
    finally:
        arrived.set()


@pytest.mark.slow
@pytest.mark.timeout(1500)  # of a machine with much else to do: an idle one takes a minute
def test_killed_at_any_moment_nothing_is_half_there(stored: World, tmp_path: Path) -> None:
    person = stored.person()
    headers = {"Authorization": f"Bearer {stored.key(person.id, 'files:read', 'files:write', 'jobs:read')}"}
    gateway = Gateway(stored, tmp_path)
    gateway.start()
    taken: dict[str, int] = {}
    # shares of the body, then seconds after its end: completing, accepting, the job
    moments = [(0.0, 0.0), (0.3, 0.0), (0.34, 0.0), (0.7, 0.0), (0.99, 0.0), (1.0, 0.01), (1.0, 0.05), (1.0, 0.1),
               (1.0, 0.2), (1.0, 0.5), (1.0, None)]  # fmt: skip
    try:
        for number, (share, later) in enumerate(moments):
            data = number.to_bytes(1, "big") + os.urandom(24 * MIB)
            arrived, statuses = threading.Event(), []
            sender = threading.Thread(
                target=lambda data=data, share=share, arrived=arrived, statuses=statuses: statuses.append(  # type: ignore[misc] # bound as it is now
                    send(gateway, headers, data, share, arrived)
                )
            )
            sender.start()
            assert arrived.wait(STANDSTILL)
            if later is None:
                sender.join(STANDSTILL)  # it was accepted, and its job has hardly begun
            else:
                time.sleep(later)
            gateway.kill()
            sender.join(STANDSTILL)
            if statuses == [202]:
                taken[hashlib.sha256(data).hexdigest()] = number
            gateway.start()
        # whoever might still send to those that are open is gone: what their lease waits for
        stored.admin.execute("update uploads set expires_at = now() where state = 'open'")
        settle(stored, gateway)
        settled(stored, gateway, headers, taken)
    finally:
        gateway.kill()


def settle(world: World, gateway: Gateway) -> None:
    """Wait until all is settled; what is left may take as long as the machine needs, but something must go on."""
    left, since = unsettled(world), time.monotonic()
    while left:
        time.sleep(0.2)
        now = unsettled(world)
        if now != left:
            left, since = now, time.monotonic()
        elif time.monotonic() - since > STANDSTILL:
            queue = world.admin.execute("select * from procrastinate.procrastinate_jobs").fetchall()
            jobs = world.admin.execute("select id, state, attempts, heartbeat_at from jobs").fetchall()
            pytest.fail(f"{left}\nqueue {queue}\njobs {jobs}\n{(gateway.folder / 'log').read_text()[-6000:]}")


def unsettled(world: World) -> list[Any]:
    statement = (
        "select 'upload', id::text, state from uploads where state in ('open', 'received')"
        " union all select 'job', id::text, state from jobs where state in ('queued', 'running')"
    )
    return world.admin.execute(statement).fetchall()


def settled(world: World, gateway: Gateway, headers: dict[str, str], taken: dict[str, int]) -> None:
    """What is in S3 is what the files say, and every upload that was accepted is a file."""
    assert world.s3 is not None
    rows = world.admin.execute("select object_key, encode(sha256, 'hex'), size, file_id from file_versions").fetchall()
    assert objects(world) == {key for key, *_ in rows}
    assert taken.keys() <= {digest for _, digest, *_ in rows}
    states = world.admin.execute("select state, count(*) from uploads group by state").fetchall()
    assert {state for state, _ in states} == {"done", "aborted"}, states
    assert not world.admin.execute("select id from jobs where state <> 'done'").fetchall()
    with httpx2.Client(timeout=STANDSTILL, trust_env=False) as client:
        for _, digest, size, file_id in rows:
            got = client.get(f"{gateway.url}/api/v1/files/{file_id}/content", headers=headers)
            assert (got.status_code, len(got.content)) == (200, size)
            assert hashlib.sha256(got.content).hexdigest() == digest
    keys = world.admin.execute("select bucket, object_key from uploads").fetchall()
    assert left_in_parts(world, keys) == []


def left_in_parts(world: World, keys: list[Any]) -> list[str]:

    async def look() -> list[str]:
        store = ObjectStore(world.settings(), world.secrets.s3_secret_key)
        try:
            return [one for bucket, key in keys for one in await store.unfinished(bucket, key)]
        finally:
            await store.close()

    return asyncio.run(look())
