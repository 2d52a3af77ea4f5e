"""``/mcp`` of a real server, by the SDK's own client and by hand."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import mcp_types as types
import pytest
from gateway_kit import PUBLIC_URL, Person, World
from live_gateway import Live, live
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from zentoria_backend.access.rules import TABLE
from zentoria_backend.mcp.endpoint import called_tool, hosts
from zentoria_backend.mcp.tools import OFFERS

METADATA = f"{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"
REVISIONS = ("2025-11-25", "2026-07-28")
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


@pytest.fixture(scope="module")
def gateway(world: World) -> Iterator[Live]:
    with live(world.app(max_json_bytes=65_536)) as server:
        yield server


@pytest.fixture
def ada(world: World) -> Person:
    return world.person()


@contextlib.asynccontextmanager
async def connected(gateway: Live, revision: str = "2026-07-28", **headers: str) -> AsyncIterator[Client]:
    """The SDK's client; the address is the public one, as behind the proxy."""

    async def to_loopback(request: httpx2.Request) -> None:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=gateway.port)

    http = httpx2.AsyncClient(headers=headers, timeout=30, event_hooks={"request": [to_loopback]})
    transport = streamable_http_client(f"{PUBLIC_URL}/mcp", http_client=http)
    mode = "legacy" if revision < "2026" else revision
    async with http, Client(transport, mode=mode) as client:
        yield client


def modern(method: str, name: str = "", **params: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """A request of 2026-07-28, as it goes over the wire."""
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if name:
        headers["Mcp-Name"] = name
        params["name"] = name
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


async def post(
    gateway: Live, headers: dict[str, str], body: Any, *, host: str = "zentoria.test", content: bytes | None = None
) -> httpx2.Response:
    sent = {
        "host": host, "accept": "application/json, text/event-stream", "content-type": "application/json", **headers,
    }  # fmt: skip
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=30) as http:
        return await http.post("/mcp", content=content or json.dumps(body).encode(), headers=sent)


# --- tools


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_an_sdk_client_lists_and_calls_tools(gateway: Live, world: World, ada: Person, revision: str) -> None:
    key = world.key(ada.id, "chat:read", "chat:write", "keys:read")
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"X-API-Key": key}) as http:
        made = (await http.post("/api/v1/conversations", json={"title": "Fjords"})).json()
        await http.post(f"/api/v1/conversations/{made['id']}/messages", json={"content": "Where are they?"})
    before = world.last_audit()
    async with connected(gateway, revision, Authorization=f"Bearer {key}") as client:
        tools = (await client.list_tools()).tools
        names = [tool.name for tool in tools]
        assert names == sorted(
            name for name in names if TABLE["TOOL", name].scope in ("chat:read", "chat:write", "keys:read")
        )
        assert {"conversations_list", "keys_list"} <= set(names)
        listed = await client.call_tool("conversations_list", {"limit": 5})
        assert not listed.is_error
        assert listed.structured_content is not None
        assert listed.structured_content["items"][0]["title"] == "Fjords"
        schema = next(tool.output_schema for tool in tools if tool.name == "conversations_list")
        assert schema is not None
        jsonschema.validate(listed.structured_content, schema)
        said = await client.call_tool("conversations_messages", {"conversation_id": made["id"]})
        assert said.structured_content is not None
        assert [each["content"] for each in said.structured_content["items"]] == ["Where are they?"]
        keys = await client.call_tool("keys_list", {})
        assert keys.structured_content is not None
        assert key not in json.dumps(keys.structured_content)
        assert key.split("_")[1] in json.dumps(keys.structured_content)
    rows = [row for row in world.audit(after=before) if row["action"] == "mcp.tool"]
    assert [(row["resource_id"], row["details"]["outcome"], row["user_id"]) for row in rows] == [
        ("conversations_list", "done", ada.id),
        ("conversations_messages", "done", ada.id),
        ("keys_list", "done", ada.id),
    ]
    assert {row["actor"].partition(":")[0] for row in rows} == {"api_key"}
    assert all(row["request_id"] for row in rows)


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_what_a_tool_refuses_the_model_reads(gateway: Live, world: World, ada: Person, revision: str) -> None:
    other = world.person("member")
    key = world.key(ada.id, "chat:read")
    row = world.admin.execute(
        "insert into conversations (user_id, title) values (%s, 'theirs') returning id", [other.id]
    ).fetchone()
    assert row is not None
    before = world.last_audit()
    async with connected(gateway, revision, Authorization=f"Bearer {key}") as client:
        for arguments, said in (
            ({"conversation_id": str(row[0])}, "there is no such conversation"),
            ({"conversation_id": "../../etc/passwd"}, "conversation_id"),
            ({}, "conversation_id"),
        ):
            result = await client.call_tool("conversations_messages", arguments)
            assert result.is_error
            (content,) = result.content
            assert isinstance(content, types.TextContent)
            assert said in content.text
            assert "Traceback" not in content.text
    outcomes = [each["details"]["outcome"] for each in world.audit(after=before) if each["action"] == "mcp.tool"]
    assert outcomes == ["error"] * 3


@pytest.mark.asyncio
async def test_the_configuration_in_the_readme_is_one(gateway: Live, world: World, ada: Person) -> None:
    text = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    blocks = [each for each in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL) if "mcpServers" in each]
    server, program = (json.loads(each)["mcpServers"]["zentoria"] for each in blocks)
    assert (server["type"], server["url"]) == ("http", "https://zentoria.example.org/mcp")
    name, _, value = program["args"][-1].partition(":")  # a program in between sends the same
    assert {name: value.replace("${KEY}", program["env"]["KEY"])} == server["headers"]
    assert server["url"] in program["args"]
    key = world.key(ada.id, "chat:read")
    headers = {name: value.replace("zt_PREFIX_SECRET", key) for name, value in server["headers"].items()}
    async with connected(gateway, **headers) as client:
        assert "conversations_list" in [tool.name for tool in (await client.list_tools()).tools]


def test_every_tool_has_a_rule_and_every_rule_a_tool() -> None:
    assert {offer.name for offer in OFFERS} == {name for kind, name in TABLE if kind == "TOOL"}
    assert all(offer.description and offer.title for offer in OFFERS)


# --- who comes in


@pytest.mark.asyncio
async def test_without_a_credential_a_client_is_told_where_to_get_one(gateway: Live) -> None:
    headers, body = modern("tools/list")
    answer = await post(gateway, headers, body)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{METADATA}"' in challenge
    assert 'scope="chat:read' in challenge and "write" not in challenge
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"):
            told = await http.get(path)
            assert told.status_code == 200
            assert told.json()["resource"] == f"{PUBLIC_URL}/mcp"
            assert told.json()["authorization_servers"] == [PUBLIC_URL]
            assert told.json()["bearer_methods_supported"] == ["header"]
            assert set(told.json()["scopes_supported"]) >= {"chat:read", "keys:read"}


@pytest.mark.asyncio
async def test_a_missing_scope_is_named_so_that_a_client_can_step_up(gateway: Live, world: World, ada: Person) -> None:
    key = world.key(ada.id, "chat:read")
    before = world.last_audit()
    for headers, body in (
        modern("tools/call", "keys_list", arguments={}),
        ({"MCP-Protocol-Version": "2025-11-25"}, {**CALL, "params": {"name": "keys_list", "arguments": {}}}),
    ):
        answer = await post(gateway, {**headers, "authorization": f"Bearer {key}"}, body)
        assert answer.status_code == 403, answer.text
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="keys:read"' in challenge or 'scope="chat:read keys:read"' in challenge
        assert f'resource_metadata="{METADATA}"' in challenge
    rows = [row for row in world.audit(after=before) if row["action"] == "mcp.tool"]
    assert [(row["resource_id"], row["details"]["outcome"]) for row in rows] == [("keys_list", "refused")] * 2


@pytest.mark.asyncio
async def test_a_token_is_good_for_mcp_only_if_it_was_made_for_it(gateway: Live, world: World, ada: Person) -> None:
    headers, body = modern("tools/list")
    client_id = {"client_id": "https://client.test/metadata.json"}
    made_for = {
        "the REST interface": (world.auth.token(ada.id, sid=ada.sid, **client_id), 401),
        "another server": (world.auth.token(ada.id, sid=ada.sid, aud="https://evil.test/mcp", **client_id), 401),
        "a longer name": (world.auth.token(ada.id, sid=ada.sid, aud=f"{PUBLIC_URL}/mcp/x", **client_id), 401),
        "a web session": (ada.token, 401),
        "it": (world.auth.token(ada.id, sid=ada.sid, aud=f"{PUBLIC_URL}/mcp", scope="chat:read", **client_id), 200),
    }
    for name, (token, status) in made_for.items():
        answer = await post(gateway, {**headers, "authorization": f"Bearer {token}"}, body)
        assert answer.status_code == status, name
        if status == 401:
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert METADATA in answer.headers["www-authenticate"]
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        token = made_for["it"][0]
        refused = await http.get("/api/v1/conversations", headers={"authorization": f"Bearer {token}"})
        assert refused.status_code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ({}, "zentoria.test", 200),
        ({}, "zentoria.test:443", 200),
        ({"origin": PUBLIC_URL}, "zentoria.test", 200),
        ({"origin": "https://evil.test"}, "zentoria.test", 403),
        ({"origin": "null"}, "zentoria.test", 403),
        ({"origin": f"{PUBLIC_URL}:8443"}, "zentoria.test", 403),
        ({}, "evil.test", 421),
        ({}, "zentoria.test:8443", 421),
        ({}, "zentoria.test.evil.test", 421),
        ({"x-api-key": "zt_aaaaaaaa_" + "x" * 43}, "zentoria.test", 400),
    ],
)
async def test_origin_host_and_two_credentials(
    gateway: Live, world: World, ada: Person, headers: dict[str, str], host: str, status: int
) -> None:
    line, body = modern("tools/list")
    key = world.key(ada.id, "chat:read")
    answer = await post(gateway, {**line, "authorization": f"Bearer {key}", **headers}, body, host=host)
    assert answer.status_code == status, answer.text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b"", {400}),
        (b"\xff\xfe", {400}),
        (b"[" * 60_000, {400}),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {400}),
        (b"[]", {400}),
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', {400}),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}', {400}),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":{"a":1}}}', {400}),
        (b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}', {400, 404}),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"tools/list"}', {400}),
        (b" " * 66_000, {413}),
    ],
)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_bad_input(
    gateway: Live, world: World, ada: Person, content: bytes, statuses: set[int], revision: str
) -> None:
    key = world.key(ada.id, "chat:read")
    headers = {"authorization": f"Bearer {key}", "MCP-Protocol-Version": revision, "Mcp-Method": "tools/list"}
    answer = await post(gateway, headers, None, content=content or b"\n")
    if revision == "2025-11-25" and answer.status_code == 200:  # an error in its envelope
        assert "error" in answer.json() if answer.headers["content-type"] == "application/json" else answer.text
        return
    assert answer.status_code in statuses, answer.text
    assert "Traceback" not in answer.text


@pytest.mark.asyncio
async def test_other_methods_and_types(gateway: Live, world: World, ada: Person) -> None:
    sent = {"authorization": f"Bearer {world.key(ada.id, 'chat:read')}", "host": "zentoria.test"}
    sent["accept"] = "application/json, text/event-stream"
    async with httpx2.AsyncClient(base_url=gateway.url, headers=sent) as http:
        assert (await http.put("/mcp", json={})).status_code == 405
        for revision in REVISIONS:
            for method in ("GET", "DELETE"):
                answer = await http.request(method, "/mcp", headers={"MCP-Protocol-Version": revision})
                assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await http.get("/mcp/")).status_code in (307, 404)
        headers, body = modern("tools/list")
        plain = {**headers, "content-type": "text/plain"}
        assert (await http.post("/mcp", content=json.dumps(body), headers=plain)).status_code == 400
        assert (await http.post("/mcp", json=body, headers=headers | {"accept": "text/html"})).status_code == 406


@pytest.mark.asyncio
async def test_no_stream_stays_open(gateway: Live, world: World, ada: Person) -> None:
    headers, body = modern("subscriptions/listen", notifications={"toolsListChanged": True})
    sent = {**headers, "authorization": f"Bearer {world.key(ada.id, 'chat:read')}"}
    answer = await post(gateway, sent, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, types.METHOD_NOT_FOUND)
    headers, body = modern("server/discover")
    told = await post(gateway, {**sent, **headers}, body)
    assert told.status_code == 200
    assert not told.json()["result"]["capabilities"]["tools"].get("listChanged")


@pytest.mark.asyncio
async def test_a_key_that_is_revoked_is_out_at_once(gateway: Live, world: World, ada: Person) -> None:
    key = world.key(ada.id, "chat:read")
    headers, body = modern("tools/list")
    assert (await post(gateway, {**headers, "authorization": f"Bearer {key}"}, body)).status_code == 200
    async with httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as http:
        listed = (await http.get("/api/v1/keys")).json()["items"]
        (there,) = [each for each in listed if each["prefix"] == key.split("_")[1]]
        assert (await http.delete(f"/api/v1/keys/{there['id']}")).status_code == 204
    assert (await post(gateway, {**headers, "authorization": f"Bearer {key}"}, body)).status_code == 401


# --- what is pure


@pytest.mark.parametrize(
    ("public", "found"),
    [
        ("https://zentoria.test", ["zentoria.test:443", "zentoria.test"]),
        ("http://localhost:4000", ["localhost:4000"]),
        ("http://127.0.0.1", ["127.0.0.1:80", "127.0.0.1"]),
    ],
)
def test_hosts(public: str, found: list[str]) -> None:
    assert hosts(public) == found


def test_called_tool() -> None:
    assert called_tool(json.dumps({**CALL, "params": {"name": "files_list"}}).encode()) == "files_list"
    for other in (b"", b"{", b"[]", b"3", b'{"method":"tools/call"}', b'{"method":"tools/list","params":{"name":"x"}}'):
        assert called_tool(other) == ""


# --- what changes something


async def refused(client: Client, name: str, arguments: dict[str, Any]) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error, result
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def done(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result
    assert result.structured_content is not None
    return result.structured_content


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_change_runs_once_after_its_approval_and_nothing_else_does(
    gateway: Live, world: World, ada: Person, revision: str
) -> None:
    key = world.key(ada.id, "chat:read", "chat:write", "approvals:decide")
    async with (
        httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as web,
        connected(gateway, revision, Authorization=f"Bearer {key}") as client,
    ):
        one, two = [(await web.post("/api/v1/conversations", json={})).json()["id"] for _ in range(2)]
        before = world.last_audit()
        asked = await done(client, "conversations_delete", {"conversation_id": one})
        assert asked["status"] == "approval_required"
        approval = asked["approval_id"]
        arguments = {"conversation_id": one, "approval_id": approval}
        again = await done(client, "conversations_delete", {"conversation_id": one})
        assert again["approval_id"] == approval  # the same question is the same approval
        assert "nobody has approved it yet" in await refused(client, "conversations_delete", arguments)
        # a program cannot approve what it asked for
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"X-API-Key": key}) as program:
            assert (await program.post(f"/api/v1/approvals/{approval}/approve")).status_code == 403
        assert (await web.post(f"/api/v1/approvals/{approval}/approve")).status_code == 200
        # another target, another credential, a target that changed: none of it was approved
        other = {"conversation_id": two, "approval_id": approval}
        assert "not what was approved" in await refused(client, "conversations_delete", other)
        second = world.key(ada.id, "chat:read", "chat:write")
        async with connected(gateway, revision, Authorization=f"Bearer {second}") as stranger:
            assert "not what was approved" in await refused(stranger, "conversations_delete", arguments)
        await web.patch(f"/api/v1/conversations/{one}", json={"title": "now with something in it"})
        assert "not what was approved" in await refused(client, "conversations_delete", arguments)
        # asked for anew, and then it runs, once
        approval = (await done(client, "conversations_delete", {"conversation_id": one}))["approval_id"]
        assert (await web.post(f"/api/v1/approvals/{approval}/approve")).status_code == 200
        arguments["approval_id"] = approval
        assert (await done(client, "conversations_delete", arguments))["status"] == "done"
        assert (await web.get(f"/api/v1/conversations/{one}")).status_code == 404
        assert (await web.get(f"/api/v1/conversations/{two}")).status_code == 200
        assert "no such conversation" in await refused(client, "conversations_delete", arguments)
    rows = world.audit(after=before)
    calls = [row["details"]["outcome"] for row in rows if row["action"] == "mcp.tool"]
    assert calls == ["approval_required"] * 2 + ["error"] * 4 + ["approval_required", "done", "error"]
    assert [row["action"] for row in rows].count("conversations.delete") == 1


@pytest.mark.asyncio
async def test_an_approved_key_is_revoked(gateway: Live, world: World, ada: Person) -> None:
    key, victim = world.key(ada.id, "keys:read", "keys:write"), world.key(ada.id, "chat:read")
    async with (
        httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as web,
        connected(gateway, Authorization=f"Bearer {key}") as client,
    ):
        (there,) = [
            each for each in (await done(client, "keys_list", {}))["items"] if each["prefix"] == victim.split("_")[1]
        ]
        asked = await done(client, "keys_revoke", {"key_id": there["id"]})
        await web.post(f"/api/v1/approvals/{asked['approval_id']}/approve")
        arguments = {"key_id": there["id"], "approval_id": asked["approval_id"]}
        assert (await done(client, "keys_revoke", arguments))["status"] == "done"
        assert (
            await web.get("/api/v1/conversations", headers={"Authorization": f"Bearer {victim}"})
        ).status_code == 401


@pytest.mark.asyncio
async def test_the_user_hears_of_what_waits_and_of_what_was_decided(gateway: Live, world: World, ada: Person) -> None:
    key = world.key(ada.id, "chat:read", "chat:write")
    async with httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers, timeout=30) as web:
        one = (await web.post("/api/v1/conversations", json={})).json()["id"]
        async with connected(gateway, Authorization=f"Bearer {key}") as client:
            asked = await done(client, "conversations_delete", {"conversation_id": one})
        await web.post(f"/api/v1/approvals/{asked['approval_id']}/deny", json={})
        told: list[dict[str, Any]] = []
        query = {"topics": "approvals", "last_event_id": "0-0"}
        async with web.stream("GET", "/api/v1/events", params=query) as events:
            async for line in events.aiter_lines():
                if line.startswith("data: ") and "state" in line:
                    told.append(json.loads(line.removeprefix("data: "))["data"])
                if len(told) == 2:
                    break
    expected = {"id": asked["approval_id"], "tool": "conversations_delete"}
    assert told == [{**expected, "state": "pending"}, {**expected, "state": "denied"}]


@pytest.mark.asyncio
async def test_workflows_and_the_assistant_say_which_container_is_missing(
    gateway: Live, world: World, ada: Person
) -> None:
    key = world.key(ada.id, "workflows:read", "workflows:run", "chat:write")
    for name in ("Zeta", "Alpha"):
        world.admin.execute("insert into workflows (user_id, name) values (%s, %s)", [ada.id, name])
    async with (
        httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as web,
        connected(gateway, Authorization=f"Bearer {key}") as client,
    ):
        first = await done(client, "workflows_list", {"limit": 1})
        rest = await done(client, "workflows_list", {"limit": 1, "cursor": first["next_cursor"]})
        assert [page["items"][0]["name"] for page in (first, rest)] == ["Alpha", "Zeta"]
        assert rest["next_cursor"] is None
        wanted = {"workflow_id": first["items"][0]["id"], "input": {"month": "2026-11"}}
        asked = await done(client, "workflows_run", wanted)
        await web.post(f"/api/v1/approvals/{asked['approval_id']}/approve")
        changed = {**wanted, "input": {"month": "2026-12"}, "approval_id": asked["approval_id"]}
        assert "not what was approved" in await refused(client, "workflows_run", changed)
        run = {**wanted, "approval_id": asked["approval_id"]}
        assert "n8n" in await refused(client, "workflows_run", run)
        assert "runs once" in await refused(client, "workflows_run", run)
        assert "ai" in await refused(client, "chat_send", {"text": "hello"})
