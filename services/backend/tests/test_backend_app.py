from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from backend_fakes import FakeProbe, app_with
from fastapi import FastAPI, Request
from pydantic import BaseModel
from zentoria_common import logs

CANARY = "canary-5d1f0c"


class Item(BaseModel):
    size: int


@pytest.fixture
def database() -> FakeProbe:
    return FakeProbe("database", {"server": "PostgreSQL 17.6", "database": "zentoria_core"})


@pytest.fixture
def redis() -> FakeProbe:
    return FakeProbe("redis", {"server": "redis", "redis_version": "8.0.2"})


@pytest.fixture
def app(database: FakeProbe, redis: FakeProbe) -> FastAPI:
    app = app_with((database, redis))

    @app.get("/boom/{name}")
    async def boom(name: str) -> None:
        raise RuntimeError(f"{name} {CANARY}")

    @app.post("/items/{name}")
    async def items(name: str, item: Item) -> dict[str, int]:
        return {name: item.size}

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    return app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend.test") as client,
    ):
        await app.state.health.check()  # whoever asks while the first question is on its way shares its answer
        yield client


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log as it leaves the process; the root logger is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("debug", package="zentoria_backend")
    stream = io.StringIO()
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.asyncio
async def test_health_says_what_it_saw(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == "ok"
    assert body["dependencies"]["database"]["saw"] == {"server": "PostgreSQL 17.6", "database": "zentoria_core"}
    assert body["dependencies"]["redis"]["saw"]["redis_version"] == "8.0.2"
    assert body["dependencies"]["redis"]["latency_ms"] >= 0


@pytest.mark.asyncio
async def test_health_is_503_when_one_fails_and_keeps_the_detail_to_itself(
    client: httpx.AsyncClient, redis: FakeProbe
) -> None:
    redis.fail("login refused", f"WRONGPASS for {CANARY}")
    answer = await client.get("/api/v1/health")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["dependencies"]["database"]["status"]) == ("error", "ok")
    assert body["dependencies"]["redis"]["error"] == "login refused"
    assert CANARY not in answer.text
    redis.error = None
    assert (await client.get("/api/v1/health")).status_code == 200


@pytest.mark.asyncio
async def test_a_hanging_dependency_is_cut_off_and_the_other_still_answers(
    client: httpx.AsyncClient, database: FakeProbe
) -> None:
    database.hang = True
    answer = await client.get("/api/v1/health")
    body = answer.json()["dependencies"]
    assert answer.status_code == 503
    assert body["database"]["error"] == "no answer in 0.2 s"
    assert body["redis"]["status"] == "ok"
    await asyncio.sleep(0)
    assert database.cancelled == 1


@pytest.mark.asyncio
async def test_an_unexpected_exception_in_a_probe_is_an_error_not_a_500(
    client: httpx.AsyncClient, database: FakeProbe
) -> None:
    database.error = ValueError(CANARY)
    answer = await client.get("/api/v1/health")
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["database"]["error"] == "probe failed"
    assert CANARY not in answer.text


@pytest.mark.asyncio
async def test_questions_at_the_same_time_share_one_answer(client: httpx.AsyncClient, database: FakeProbe) -> None:
    await client.get("/api/v1/health")
    gate = asyncio.Event()
    database.before = gate.wait
    before = database.asked
    waiting = [asyncio.create_task(client.get("/api/v1/health")) for _ in range(20)]
    while database.asked == before:
        await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*waiting)
    assert {answer.status_code for answer in answers} == {200}
    assert database.asked - before < 20


@pytest.mark.asyncio
async def test_live_asks_nobody(client: httpx.AsyncClient, database: FakeProbe) -> None:
    await client.get("/api/v1/health")
    asked = database.asked
    assert (await client.get("/api/v1/health/live")).json() == {"status": "ok"}
    assert database.asked == asked


@pytest.mark.asyncio
async def test_the_probes_are_closed_at_the_end(app: FastAPI, database: FakeProbe, redis: FakeProbe) -> None:
    database.hang = True
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
    assert database.closed
    assert redis.closed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("DELETE", "/api/v1/health", 405), ("POST", "/items/a", 422), ("GET", "/boom/x", 500)],
)
async def test_every_error_is_a_problem_with_the_requests_id(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, headers={"X-Request-ID": "from-the-proxy"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "from-the-proxy"
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == "from-the-proxy"
    assert CANARY not in answer.text


@pytest.mark.asyncio
async def test_a_validation_error_does_not_repeat_the_input(client: httpx.AsyncClient) -> None:
    answer = await client.post("/items/a", json={"size": CANARY})
    assert answer.json()["errors"][0]["loc"] == ["body", "size"]
    assert CANARY not in answer.text


@pytest.mark.asyncio
async def test_a_request_id_that_is_no_id_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/health/live", headers={"X-Request-ID": 'x"} {"forged": 1'})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.asyncio
async def test_a_declared_body_over_the_limit_is_refused_unread(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/health/live", content=b"x" * 1001)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert (await client.post("/raw", content=b"x" * 1000)).json() == 1000


@pytest.mark.asyncio
async def test_a_streamed_body_is_counted(client: httpx.AsyncClient) -> None:
    async def body() -> AsyncGenerator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    answer = await client.post("/raw", content=body())
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.asyncio
async def test_metrics_have_route_templates_and_dependencies(client: httpx.AsyncClient, redis: FakeProbe) -> None:
    redis.fail("connection refused")
    await client.get("/api/v1/health")
    await client.get("/boom/secret-name")
    await client.get("/wp-admin.php")
    await client.request("BREW", "/wp-admin.php")
    text = (await client.get("/metrics")).text
    assert 'zentoria_http_requests_total{method="GET",route="/api/v1/health",status="503"} 1.0' in text
    assert 'zentoria_http_requests_total{method="GET",route="/boom/{name}",status="500"} 1.0' in text
    assert 'zentoria_http_requests_total{method="OTHER",route="unmatched",status="404"} 1.0' in text
    assert 'zentoria_dependency_up{dependency="database"} 1.0' in text
    assert 'zentoria_dependency_up{dependency="redis"} 0.0' in text
    assert "secret-name" not in text
    assert "wp-admin" not in text


@pytest.mark.asyncio
async def test_metrics_can_be_off() -> None:
    app = app_with((), metrics=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend.test") as client:
        assert (await client.get("/metrics")).status_code == 404


@pytest.mark.asyncio
async def test_the_log_has_the_allowed_fields_and_no_secret(log: io.StringIO, client: httpx.AsyncClient) -> None:
    await client.get(
        f"/api/v1/health?token={CANARY}", headers={"Authorization": f"Bearer {CANARY}", "X-Request-ID": "request-1"}
    )
    await client.get(f"/boom/{CANARY}")
    await client.get(f"/{CANARY}")
    logging.getLogger("some.driver").warning("connected", extra={"password": CANARY})
    logs.structlog.get_logger("zentoria_backend.x").info("event", password=CANARY)
    text = log.getvalue()
    assert CANARY not in text
    requests = [line for line in lines(log) if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in requests] == [
        ("/api/v1/health", 200),
        ("/boom/{name}", 500),
        ("unmatched", 404),
    ]
    assert requests[0]["request_id"] == "request-1"
    assert all(set(line) <= logs.FIELDS for line in lines(log))
    crash = next(line for line in lines(log) if line["event"] == "unhandled exception")
    assert crash["error_type"] == "RuntimeError"
    assert crash["frames"][-1].endswith(" boom")
    assert next(line for line in lines(log) if line["event"] == "event")["dropped"] == 1


@pytest.mark.asyncio
async def test_a_change_is_logged_once(log: io.StringIO, client: httpx.AsyncClient, redis: FakeProbe) -> None:
    await client.get("/api/v1/health")
    redis.fail("login refused", "WRONGPASS invalid username-password pair")
    for _ in range(3):
        await client.get("/api/v1/health")
    failures = [line for line in lines(log) if line["event"] == "dependency fails"]
    assert [(line["dependency"], line["error"]) for line in failures] == [
        ("redis", "WRONGPASS invalid username-password pair")
    ]


@pytest.mark.asyncio
async def test_answers_of_a_draining_server_end_their_connection(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert "connection" not in (await client.get("/api/v1/health/live")).headers
    app.state.lifecycle.draining.set()
    assert (await client.get("/api/v1/health/live")).headers["connection"] == "close"
