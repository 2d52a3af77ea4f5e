"""Clients that describe themselves: their documents on a real HTTPS server, and what else may stand at such a URL."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import AsyncGenerator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from auth_certificates import make_certificates
from oauth_world import CALLBACK, ISSUER, World, back, make_world
from real_servers import RedisServer
from zentoria_auth.oauth.clients import MAX_DOCUMENT_BYTES
from zentoria_auth.oauth.documents import Documents
from zentoria_auth.oauth.service import AuthorizationServer
from zentoria_auth.oauth.tickets import Tickets
from zentoria_common.outbound import Allowed, Outbound
from zentoria_schema.embedded import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
PREFIX = "auth:oauth"


class Site(ThreadingHTTPServer):
    """Where the documents are; ``answers`` by path, ``asked`` counts."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        make_certificates(folder, ("127.0.0.1",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.ca_file = folder / "ca.crt"
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.silent = threading.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, said: Any = None, status: int = 200, body: bytes | None = None, **headers: str) -> str:
        """Put a document there, and return its URL: a good one, with changes."""
        url = f"{self.url}{path}"
        document = {"client_id": url, "client_name": "An app", "redirect_uris": [CALLBACK], **(said or {})}
        sent = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, sent, json.dumps(document).encode() if body is None else body)
        return url


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/silent.json":
            self.server.silent.wait(30)
            return
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("documents")) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.silent.set()
        server.shutdown()
        thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, site: Site
) -> AsyncGenerator[World]:
    made = make_world(postgres_server, core_database, redis_server)
    services, oauth = made.services, made.app.state.oauth
    allowed = Allowed.parse(["127.0.0.0/8"])
    outbound = Outbound(allowed, timeout=2, max_bytes=MAX_DOCUMENT_BYTES, ca_file=site.ca_file)
    oauth.server._documents = Documents(outbound, services.redis, PREFIX)
    yield made
    await outbound.close()
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(world: World) -> dict[str, str]:
    return await world.browser(await world.user("ada@zentoria.test"))


async def test_a_client_whose_id_is_the_url_of_its_document(world: World, site: Site, browser: dict[str, str]) -> None:
    url = site.put("/app.json", {"grant_types": ["authorization_code", "refresh_token"]})
    page = await world.ask(browser, url)
    assert "<dt>Program of</dt><dd>127.0.0.1</dd>" in page.text
    tokens = (await world.token(url, back(await world.answer(browser, page))["code"])).json()
    said = world.services.tokens.verify(tokens["access_token"], [f"{ISSUER}/mcp"])
    assert said["client_id"] == url
    assert site.asked.count("/app.json") == 1, "it is kept"
    # days later, with the site gone and the copy forgotten, a session goes on
    site.answers.pop("/app.json")
    keys = [key async for key in world.services.redis.scan_iter(f"{PREFIX}:document:*")]
    await world.services.redis.delete(*keys)
    assert (await world.refresh(url, tokens["refresh_token"])).status_code == 200
    assert site.asked.count("/app.json") == 1
    assert (await world.ask(browser, url)).status_code == 400, "but nothing new begins"


async def test_nobody_has_this_server_call_others_who_is_not_signed_in(world: World, site: Site) -> None:
    url = site.put("/early.json")
    assert (await world.ask({}, url)).headers["location"].startswith("/auth/sign-in?next=")
    for path in ("/oauth/token", "/oauth/revoke", "/oauth/device_authorization"):
        response = await world.post(path, {"client_id": url, "token": "x", "grant_type": "refresh_token"})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert "/early.json" not in site.asked


@pytest.mark.parametrize(
    ("path", "put"),
    [
        ("/missing.json", None),
        ("/silent.json", None),
        ("/moved.json", {"status": 302, "location": "/app.json"}),
        ("/moved2.json", {"status": 301, "location": "http://169.254.169.254/"}),
        ("/created.json", {"status": 201}),
        ("/other.json", {"said": {"client_id": "https://evil.example/client.json"}}),
        ("/secret.json", {"said": {"client_secret": "s"}}),
        ("/html.json", {"content_type": "text/html"}),
        ("/text.json", {"body": b"not json"}),
        ("/list.json", {"body": b"[]"}),
        ("/deep.json", {"body": b"[" * 9000}),
        ("/latin.json", {"body": b'{"client_id": "\xff"}'}),
        ("/large.json", {"body": b" " * (MAX_DOCUMENT_BYTES + 1)}),
        ("/packed.json", {"content_encoding": "gzip"}),
    ],
)
async def test_a_document_that_is_none(
    world: World, site: Site, browser: dict[str, str], path: str, put: dict[str, Any] | None
) -> None:
    url = f"{site.url}{path}"
    if put is not None:
        site.put(path, **put)
    for _ in range(2):
        response = await world.ask(browser, url)
        assert response.status_code == 400
        assert "location" not in response.headers
    assert site.asked.count(path) == 2, "what is none is not kept"


async def test_addresses_that_are_not_on_the_internet_are_not_called(world: World, site: Site) -> None:
    strict = Outbound(timeout=2, max_bytes=MAX_DOCUMENT_BYTES, ca_file=site.ca_file)
    services = world.services
    server = AuthorizationServer(
        world.app.state.oauth.server.offer,
        services.database,
        Tickets(services.redis, PREFIX),
        Documents(strict, services.redis, "auth:strict"),
        services.sessions,
        services.tokens,
    )
    site.put("/inside.json")
    for host in (site.url.removeprefix("https://"), "10.10.40.4", "192.168.1.1:8006", "169.254.169.254"):
        with pytest.raises(Exception, match="cannot be fetched: refused"):
            await server.client(f"https://{host}/inside.json", fetch=True)
    assert "/inside.json" not in site.asked
    await strict.close()


async def test_a_client_that_was_shut_out(world: World, site: Site, browser: dict[str, str]) -> None:
    url = site.put("/out.json", {"grant_types": ["authorization_code", "refresh_token"]})
    tokens = (await world.token(url, await world.code(browser, url))).json()
    with world.postgres.connect(world.database) as connection:
        connection.execute("update oauth_clients set disabled_at = now() where client_id = %s", [url])
    assert (await world.refresh(url, tokens["refresh_token"])).json()["error"] == "invalid_client"
    assert (await world.ask(browser, url)).status_code == 400
