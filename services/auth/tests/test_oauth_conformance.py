"""The official MCP conformance suite's authorization scenarios, against the server on its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from oauth_world import World, make_world
from real_servers import RedisServer, free_ports
from zentoria_schema.embedded import PostgresServer

from tests.support.node_tools import conformance

SCENARIOS = {
    "authorization-server-metadata-endpoint": {"authorization-server-metadata", "authorization-server-metadata-cimd"},
    "authorization-code-grant": {"authorization-code-grant"},
}
"""Those that the suite has for authorization servers, and their checks."""
PATIENCE = 240.0


@pytest_asyncio.fixture
async def world(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer
) -> AsyncGenerator[World]:
    (port,) = free_ports(1)
    made = make_world(postgres_server, core_database, redis_server, public_url=f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(made.app, host="127.0.0.1", port=port, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    await made.http.aclose()
    made.http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
    yield made
    server.should_exit = True
    await serving
    await made.close()


async def consent(world: World, browser: dict[str, str], url: str) -> None:
    """What a person does with the address that the suite prints."""
    page = await world.http.get(url, headers=browser)
    response = await world.answer(browser, page)
    async with httpx2.AsyncClient(trust_env=False) as other:
        assert (await other.get(response.headers["location"])).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_every_authorization_scenario_of_the_suite(world: World, revision: str, tmp_path: Path) -> None:
    issuer = world.services.settings.public_url
    browser = await world.browser(await world.user(f"{revision}@zentoria.test"))
    client = await world.client(redirect_uris=("http://127.0.0.1/callback",))
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        *conformance(), "authorization", "--url", issuer, "--client-id", client, "--resource", f"{issuer}/mcp",
        "--port", str(port), "--spec-version", revision, "--output-dir", str(tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    async with asyncio.timeout(PATIENCE):
        async for line in process.stdout:
            said.append(line.decode())
            if found := re.search(rf"{re.escape(issuer)}/oauth/authorize\?\S+", said[-1]):
                await consent(world, browser, found[0])
        assert await process.wait() == 0, "".join(said)
    results: dict[str, dict[str, Any]] = {}
    for path in tmp_path.glob("**/checks.json"):
        results |= {check["id"]: check for check in json.loads(path.read_text())}
    assert set(results) == set().union(*SCENARIOS.values()), "".join(said)
    assert {check["status"] for check in results.values()} == {"SUCCESS"}, results


@pytest.mark.asyncio
async def test_the_suite_has_no_other_scenarios_for_authorization_servers() -> None:
    process = await asyncio.create_subprocess_exec(
        *conformance(), "list", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    text = (await process.communicate())[0].decode()
    listed = text.partition("Authorization server scenarios")[2]
    assert set(re.findall(r"^  - (\S+)", listed, re.MULTILINE)) == set(SCENARIOS)
