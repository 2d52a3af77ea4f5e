from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import pytest
import pytest_asyncio
import sqlalchemy.exc
from fastapi import FastAPI
from pydantic import BaseModel
from zentoria_common import database, redis, scopes
from zentoria_common.application import make_app
from zentoria_common.problems import Problem, Unavailable, answers
from zentoria_common.settings import CommonSettings


class Item(BaseModel):
    size: int


@pytest.fixture
def app() -> FastAPI:
    settings = CommonSettings(max_body_bytes=2000, max_json_bytes=100)
    outages = {**database.OUTAGES, **redis.OUTAGES}
    app = make_app(settings, (), name="x", title="x", version="1", files=("/files",), outages=outages)

    @app.get("/gone/{name}", responses=answers(404, 410, e410="it was deleted"))
    async def gone(name: str) -> None:
        raise Problem(410, "it was deleted", kind="gone", headers={"X-Kind": "a"}, when="yesterday")

    @app.get("/away")
    async def away() -> None:
        raise Unavailable("s3", retry_after=7)

    @app.get("/database")
    async def down() -> None:
        raise sqlalchemy.exc.OperationalError("SELECT secret", {}, Exception("hunter2"))

    @app.post("/items")
    @app.post("/files/items")
    async def items(item: Item) -> Item:
        return item

    return app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x.test") as client,
    ):
        yield client


@pytest.mark.asyncio
async def test_what_is_raised_is_the_answer(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/gone/a")
    assert (answer.status_code, answer.headers["x-kind"]) == (410, "a")
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert len(body.pop("request_id")) == 32
    assert body == {
        "type": "/problems/gone", "title": "Gone", "status": 410, "detail": "it was deleted", "when": "yesterday",
    }  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize(("path", "service", "after"), [("/away", "s3", "7"), ("/database", "database", "2")])
async def test_a_dependency_that_is_away_is_503_with_a_time(
    client: httpx2.AsyncClient, path: str, service: str, after: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, after)
    assert (answer.json()["type"], answer.json()["service"]) == ("/problems/unavailable", service)
    assert "hunter2" not in answer.text
    assert "SELECT" not in answer.text


@pytest.mark.asyncio
async def test_every_error_is_documented_in_its_form(app: FastAPI, client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["schemas"].keys() == {"HealthReport", "DependencyHealth", "Item", "Problem"}
    found = document["paths"]["/gone/{name}"]["get"]["responses"]
    assert found.keys() == {"200", "404", "410", "413", "422", "500", "503"}
    assert found["410"]["content"]["application/problem+json"]["example"]["detail"] == "it was deleted"
    assert "400" in document["paths"]["/items"]["post"]["responses"]
    health = document["paths"]["/health"]["get"]["responses"]["503"]["content"]
    assert "application/json" in health  # its own answer, and no problem


@pytest.mark.asyncio
async def test_only_routes_for_files_take_large_bodies(client: httpx2.AsyncClient) -> None:
    body = b'{"size": 1' + b" " * 500 + b"}"
    for path, status in (("/items", 413), ("/files/items", 200)):
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status
    answer = await client.post("/files/items", content=body * 5, headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[" * 90, 422), (b'{"size": "\xff"}', 400), (b'{"size": 1e999}', 422), (b"", 422), (b"{'size': 1}", 422)],
)
async def test_a_body_that_is_no_json_is_a_problem(client: httpx2.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.post("/items", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_scopes_are_read_and_written() -> None:
    assert scopes.text(scopes.parse("  keys:read files:read keys:read ")) == "files:read keys:read"
    with pytest.raises(scopes.UnknownScope, match="'files:all'"):
        scopes.parse("files:read files:all")


def test_no_key_is_given_what_only_the_owners_session_has() -> None:
    assert scopes.granted("owner", {scopes.ADMIN, "files:read", "settings:write"}) == {"files:read", "settings:write"}
    assert scopes.granted("member", {"settings:write", "files:read"}) == {"files:read"}
