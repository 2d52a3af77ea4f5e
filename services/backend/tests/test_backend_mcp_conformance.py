"""The official conformance suite of the Model Context Protocol, against a gateway that asks for a credential."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import mcp_fixtures
import pytest
import uvicorn
import yaml
from forwarder import Forwarder
from gateway_kit import World
from live_gateway import live
from zentoria_backend.access.rule import Rule
from zentoria_backend.mcp.endpoint import Endpoint

from tests.support.node_tools import conformance, inspector, node_modules


@contextlib.contextmanager
def forwarding(sock: socket.socket, upstream: str, credential: str) -> Iterator[None]:
    config = uvicorn.Config(Forwarder(upstream, credential), log_config=None, lifespan="off", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield
    finally:
        server.force_exit = server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    """Where the suite finds the gateway: with its fixture tools, and sessions for the revision that has them."""
    person = world.person()
    key = world.key(person.id, "profile:read")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        public = f"http://localhost:{sock.getsockname()[1]}"
        app = world.app(public_url=public)
        services = app.state.services
        mine = {("TOOL", tool.__name__): Rule("TOOL", tool.__name__, "profile:read") for tool in mcp_fixtures.TOOLS}
        services.access._rules = {**services.access._rules, **mine}
        app.state.mcp = Endpoint(services, extend=mcp_fixtures.install, sessions=True)
        with live(app) as gateway, forwarding(sock, gateway.url, f"Bearer {key}"):
            assert httpx2.post(f"{gateway.url}/mcp", json={}).status_code == 401
            yield f"{public}/mcp"


# The older revision has logging and sampling, of which the SDK says that the newer one has them no more.
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_every_scored_scenario_of_the_official_suite_passes(url: str, revision: str, tmp_path: Path) -> None:
    package = node_modules() / "@modelcontextprotocol" / "conformance"
    scored = yaml.safe_load((package / "requirements" / f"{revision}.yaml").read_text())["server"]
    assert len(scored) >= 30
    done = subprocess.run(
        [*conformance(), "server", "--url", url, "--requirements", revision, "--timeout", "120000"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    passed = dict(re.findall(r"^✓ ([a-z0-9-]+): (\d+) passed, 0 failed", said, flags=re.MULTILINE))
    assert [name for name in scored if int(passed.get(name, "0")) == 0] == []


@pytest.mark.slow
def test_the_inspectors_command_line_lists_and_calls_tools(world: World, tmp_path: Path) -> None:
    with socket.socket() as sock:  # its public name is where the Inspector finds it: no forwarder adds a header
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    person = world.person()
    key = world.key(person.id, "chat:read", "profile:read")
    world.admin.execute("insert into conversations (user_id, title) values (%s, 'Fjords')", [person.id])
    before = world.last_audit()
    with live(world.app(public_url=f"http://127.0.0.1:{port}"), port) as gateway:

        def inspect(*words: str, token: str = key) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*inspector(), f"{gateway.url}/mcp", "--transport", "http", "--header",
                 f"Authorization: Bearer {token}", *words],
                cwd=tmp_path, capture_output=True, text=True, timeout=120,
                env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            )  # fmt: skip

        listed = inspect("--method", "tools/list")
        assert listed.returncode == 0, listed.stdout + listed.stderr
        names = [tool["name"] for tool in json.loads(listed.stdout)["tools"]]
        assert names == ["conversations_list", "conversations_messages", "conversations_search", "memory_list"]
        called = inspect("--method", "tools/call", "--tool-name", "conversations_list", "--tool-arg", "limit=1")
        assert called.returncode == 0, called.stdout + called.stderr
        assert json.loads(called.stdout)["structuredContent"]["items"][0]["title"] == "Fjords"
        assert inspect("--method", "tools/list", token="zt_aaaaaaaa_" + "x" * 43).returncode != 0
    assert [row["resource_id"] for row in world.audit(after=before) if row["action"] == "mcp.tool"] == [
        "conversations_list"
    ]
