"""What tests of files stand on: a gateway with PostgreSQL, Redis and S3, and helpers to send it files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import FastAPI
from gateway_kit import Person, World, client_of

TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = {**TUS, "Content-Type": "application/offset+octet-stream"}
MIB = 1 << 20


@contextlib.asynccontextmanager
async def gateway(world: World, **changes: Any) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient]]:
    app = world.app(**{"max_body_bytes": 64 * MIB, "sweep_seconds": 3600.0} | changes)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield app, client


async def ended(client: httpx2.AsyncClient, person: Person, job_id: str, seconds: float = 60) -> dict[str, Any]:
    """The job, at its end."""
    until = time.monotonic() + seconds
    while True:
        answer = await client.get(f"/api/v1/jobs/{job_id}", headers=person.headers)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        if job["state"] not in ("queued", "running"):
            return job
        assert time.monotonic() < until, job
        await asyncio.sleep(0.05)


async def uploaded(
    client: httpx2.AsyncClient, person: Person, data: bytes, name: str = "a.bin", **query: str
) -> dict[str, Any]:
    """A file with this content."""
    answer = await client.put(
        "/api/v1/uploads", params={"filename": name, **query}, content=data, headers=person.headers
    )
    assert answer.status_code == 202, answer.text
    job = await ended(client, person, answer.json()["job"]["id"])
    assert job["state"] == "done", job
    found = await client.get(f"/api/v1/files/{job['result']['file_id']}", headers=person.headers)
    made: dict[str, Any] = found.json()
    return made


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def created(client: httpx2.AsyncClient, person: Person, size: int, **values: str) -> str:
    """The path of a new tus upload."""
    headers = {**person.headers, **TUS, "Upload-Length": str(size), "Upload-Metadata": metadata(**values)}
    answer = await client.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def objects(world: World, bucket: str = "uploads") -> set[str]:
    """Keys of what is in a bucket."""
    assert world.s3 is not None
    return {str(one["path"]) for one in world.s3.store(bucket).list().collect()}
