"""A tool that is at work when the gateway stops still answers."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import httpx2
import pytest
from gateway_kit import World
from live_gateway import live
from mcp.server.mcpserver import MCPServer
from zentoria_backend.access.rule import Rule
from zentoria_backend.mcp.endpoint import Endpoint


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "application/json"])
def test_a_call_under_way_is_answered_when_the_server_stops(world: World, accept: str) -> None:
    person = world.person()
    key = world.key(person.id, "profile:read")
    begun, go_on = threading.Event(), threading.Event()

    async def slow() -> str:
        """Works until it is told to end."""
        begun.set()
        await anyio.to_thread.run_sync(go_on.wait, 60)
        return "all of it"

    def install(server: MCPServer[Any]) -> None:
        server.tool()(slow)

    app = world.app()
    services = app.state.services
    services.access._rules = {**services.access._rules, ("TOOL", "slow"): Rule("TOOL", "slow", "profile:read")}
    app.state.mcp = Endpoint(services, extend=install)
    answers: list[httpx2.Response] = []
    with live(app) as gateway:

        def ask() -> None:
            headers = {"Authorization": f"Bearer {key}", "Accept": accept, "Host": "zentoria.test"}
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow", "arguments": {}}}
            headers["MCP-Protocol-Version"] = "2025-11-25"
            answers.append(httpx2.post(f"{gateway.url}/mcp", json=call, headers=headers, timeout=60))

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(60)
        gateway.tell_to_stop()
        while not app.state.lifecycle.draining.is_set():
            asking.join(0.01)
        go_on.set()
        asking.join(60)
    assert [one.status_code for one in answers] == [200]
    assert answers[0].json()["result"]["content"][0]["text"] == "all of it"
