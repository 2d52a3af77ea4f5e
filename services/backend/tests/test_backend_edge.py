"""Origins, clients behind proxies, containers that come later: what stands at the gateway's edge."""

from __future__ import annotations

import ipaddress
import uuid

import httpx2
import pytest
from gateway_kit import World, client_of
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from zentoria_backend.access.context import ClientInfo, client_info
from zentoria_backend.app import create_app
from zentoria_backend.services import make_services

ORIGIN = "https://app.example"


@pytest.mark.asyncio
async def test_no_page_of_another_origin_may_read(client: httpx2.AsyncClient, world: World) -> None:
    headers = {**world.person().headers, "Origin": ORIGIN}
    answer = await client.get("/api/v1/keys", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert (await client.options("/api/v1/keys", headers=preflight)).status_code == 405


@pytest.mark.asyncio
async def test_pages_of_origins_in_the_settings_may(world: World) -> None:
    async with world.client(cors_origins=(ORIGIN,)) as client:
        for origin, allowed in ((ORIGIN, True), ("https://app.example.evil.test", False), ("null", False)):
            answer = await client.get("/api/v1/keys", headers={**world.person().headers, "Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
            assert "access-control-allow-credentials" not in answer.headers
        preflight = {
            "Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-api-key",
        }  # fmt: skip
        assert (await client.options("/api/v1/settings/a", headers=preflight)).status_code == 200
        for method, path, asked in (
            ("PATCH", "/api/v1/uploads/x", "tus-resumable, upload-offset, upload-checksum, content-type"),
            ("GET", "/api/v1/files/x/content", "authorization, range, if-range"),
            ("GET", "/api/v1/events", "authorization, last-event-id"),
            ("POST", "/mcp", "authorization, content-type, mcp-protocol-version, mcp-method, mcp-name"),
        ):
            wanted = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
            answer = await client.options(path, headers={"Origin": ORIGIN, **wanted})
            assert answer.status_code == 200, (path, answer.text)
        told = (await client.get("/api/v1/keys", headers={"Origin": ORIGIN})).headers["access-control-expose-headers"]
        assert {"upload-offset", "content-range", "www-authenticate"} <= set(told.split(", "))
        refused = await client.get("/api/v1/keys", headers={"Origin": ORIGIN})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)


async def seen(peer: str, forwarded: str, trusted: str) -> ClientInfo:
    """The client as it is found behind uvicorn's walk through trusted proxies."""
    found: list[ClientInfo] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        found.append(client_info(scope))

    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode("latin-1"))]}
    await ProxyHeadersMiddleware(app, trusted)(scope, None, None)  # type: ignore[arg-type] # it uses neither
    return found[0]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("10.10.40.8", "203.0.113.9", "203.0.113.9"),
        ("10.10.40.8", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client's own claim is not believed
        ("10.10.40.8", "203.0.113.9, 10.10.40.8", "203.0.113.9"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # not a proxy of ours
        ("10.10.40.8", "2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("10.10.40.8", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.10.40.8", "rubbish", "unknown"),
    ],
)
async def test_a_client_is_counted_by_its_own_address(peer: str, forwarded: str, network: str) -> None:
    assert (await seen(peer, forwarded, "10.10.40.8")).network == network


@given(st.ip_addresses(), st.text(max_size=20))
def test_whatever_an_address_is_it_has_a_network(address: object, text: str) -> None:
    for given_text in (str(address), text):
        scope = {"type": "http", "client": (given_text, 1), "headers": []}
        network = client_info(scope).network
        assert network == "unknown" or ipaddress.ip_network(network).prefixlen in (32, 64)


@pytest.mark.asyncio
async def test_a_container_that_comes_later_is_found_by_itself(world: World) -> None:
    person = world.person()
    there = False
    asked = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        if request.url.host == "auth.test":
            raise AssertionError("it goes elsewhere")
        asked += 1
        if not there:
            raise httpx2.ConnectError("refused", request=request)
        assert world.auth.callers  # it is told who asks
        known = [name for name in ("zentoria-user", "zentoria-user-for-embeddings") if name in request.headers]
        return httpx2.Response(200, json={"intent": None, "say": " ".join(known), "calls": []})

    class Both(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.host == "auth.test":
                return await world.auth.transport().handle_async_request(request)
            return answer(request)

    settings = world.settings(ai_url="http://ai.test:8000")
    services = make_services(settings, world.secrets, identity=world.auth.gateway, transport=Both())
    app = create_app(settings, services, ())
    async with app.router.lifespan_context(app), client_of(app) as client:
        for _ in range(6):
            refused = await client.post("/api/v1/mcp/command", json={"text": "hello"}, headers=person.headers)
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/service-missing")
            assert refused.json()["service"] == "ai"
            assert refused.headers["retry-after"] == "5"
        assert asked == 3  # then it is left alone for a while
        there = True
        breaker = await services.callees._breakers.get_breaker("ai")
        breaker.context._state.opened_at -= 6  # five seconds later
        done = await client.post("/api/v1/mcp/command", json={"text": "hello"}, headers=person.headers)
        assert done.json()["say"] == "zentoria-user zentoria-user-for-embeddings"
        empty = await client.post(
            "/api/v1/mcp/workflow", json={"workflow_id": str(uuid.uuid4())}, headers=person.headers
        )
        assert (empty.status_code, empty.json()["service"]) == (503, "n8n")
