"""A running authorization server with real PostgreSQL and Redis, users, browsers that are signed in, and clients."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import auth_servers
import httpx2
from fastapi import FastAPI
from real_servers import RedisServer
from zentoria_auth.accounts import repository as accounts
from zentoria_auth.app import create_app
from zentoria_auth.clock import moment
from zentoria_auth.oauth.clients import ClientMetadata
from zentoria_auth.pages.web import SESSION_COOKIE
from zentoria_auth.peer import Peer
from zentoria_auth.services import Services, make_services
from zentoria_auth.sessions.service import Account
from zentoria_schema.embedded import PostgresServer

ISSUER = auth_servers.PUBLIC_URL
CALLBACK = "https://app.example/callback"
LOOPBACK = "http://127.0.0.1/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PEER = Peer("192.0.2.7", "a browser")


@dataclasses.dataclass
class World:
    """The application, and what it runs on."""

    app: FastAPI
    services: Services
    clock: list[float]
    http: httpx2.AsyncClient
    postgres: PostgresServer
    database: str

    async def user(self, email: str, role: str = "owner") -> Account:
        async with self.services.database.session() as session:
            row = await accounts.create(
                session,
                email=email,
                name=email.partition("@")[0],
                role=role,
                password_hash=None,
                now=moment(self.clock[0]),
            )
        return Account(row.id, row.email, row.name, row.role)

    async def browser(self, account: Account) -> dict[str, str]:
        """Headers of a browser that this user is signed in in."""
        _, cookie = await self.services.sessions.begin_browser(account, ["pwd", "otp"], PEER)
        return {"cookie": f"{SESSION_COOKIE}={cookie}"}

    async def client(self, **said: Any) -> str:
        """Register a public client."""
        values = {
            "redirect_uris": (CALLBACK, LOOPBACK),
            "token_endpoint_auth_method": "none",
            "grant_types": ("authorization_code", "refresh_token"),
            "client_name": "An app",
        }
        client, _ = await self.app.state.oauth.server.register(ClientMetadata(**{**values, **said}), PEER)
        return str(client.id)

    async def ask(self, browser: dict[str, str], client_id: str | None, **changes: str | None) -> httpx2.Response:
        """Send a browser to the authorization endpoint."""
        parameters = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "a state",
            "scope": "files:read search:read",
            **changes,
        }
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return await self.http.get(f"/oauth/authorize?{query}", headers=browser)

    async def answer(
        self, browser: dict[str, str], page: httpx2.Response, decision: str = "allow", scopes: list[str] | None = None
    ) -> httpx2.Response:
        """Send a consent page's form, as it came or with other scopes."""
        ticked = re.findall(r'name="scope" value="([^"]+)" checked', page.text) if scopes is None else scopes
        fields = [("ticket", ticket_of(page)), ("decision", decision), *(("scope", scope) for scope in ticked)]
        return await self.post("/auth/consent", fields, {**browser, "origin": self.services.settings.public_url})

    async def code(self, browser: dict[str, str], client_id: str, **changes: str | None) -> str:
        """Go through the consent page to a code."""
        page = await self.ask(browser, client_id, **changes)
        if page.status_code == 200:
            page = await self.answer(browser, page)
        return back(page)["code"]

    async def post(self, path: str, fields: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
        return await self.http.post(
            path,
            content=urlencode(fields),
            headers={"content-type": "application/x-www-form-urlencoded", **(headers or {})},
        )

    async def token(self, client_id: str | None, code: str | None, **changes: str | None) -> httpx2.Response:
        """Exchange a code."""
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.post("/oauth/token", {name: value for name, value in form.items() if value is not None})

    async def refresh(self, client_id: str, token: str, **changes: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token, **changes}
        return await self.post("/oauth/token", form)

    async def close(self) -> None:
        await self.http.aclose()
        await self.app.state.oauth.close()
        await self.services.redis.aclose()
        await self.services.database.close()
        async with self.services.running():
            pass  # what it closes at its end

    def audit(self) -> list[tuple[Any, ...]]:
        """Actions of the audit log with their severity and user, oldest first; the service itself cannot read it."""
        with self.postgres.connect(self.database) as connection:
            return connection.execute("select action, severity, user_id from audit_log order by id").fetchall()

    def actions(self) -> list[str]:
        return [row[0] for row in self.audit()]


def make_world(postgres: PostgresServer, database: str, redis: RedisServer, **changes: Any) -> World:
    """Make the application against these servers."""
    redis.flush()
    settings = auth_servers.settings(
        database_host=postgres.host,
        database_port=postgres.port,
        database_name=database,
        redis_port=redis.port,
        redis_user="auth",
        **changes,
    )
    secrets = auth_servers.secrets(redis_password=redis.password("auth"))
    clock = [1_900_000_000.0]
    services = make_services(settings, secrets, lambda: clock[0])
    app = create_app(settings, secrets, services)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ISSUER)
    return World(app, services, clock, http, postgres, database)


def ticket_of(page: httpx2.Response) -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def back(response: httpx2.Response) -> dict[str, str]:
    """What goes back to a client, each parameter once."""
    assert response.status_code == 303, (response.status_code, response.text)
    query = parse_qs(urlsplit(response.headers["location"]).query, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}
