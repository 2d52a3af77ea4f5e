"""What the tests of this service run against: keys, secrets, settings."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pyotp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from real_servers import RedisServer
from zentoria_auth.app import create_app
from zentoria_auth.peer import Peer
from zentoria_auth.services import Services, make_services
from zentoria_auth.sessions.service import Account
from zentoria_auth.settings import Secrets, Settings
from zentoria_common import scopes as scope_names
from zentoria_common.identity import Identity, OnBehalf
from zentoria_schema.embedded import PostgresServer

PUBLIC_URL = "https://zentoria.test"


def ec_key(curve: ec.EllipticCurve | None = None) -> str:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def secrets(**changes: str) -> Secrets:
    values = {"database_password": "x", "redis_password": "x", "jwt_key": ec_key(), "seal_key": "canary-seal-key"}
    return Secrets(**{name: SecretStr(value) for name, value in (values | changes).items()})


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_host": "127.0.0.1",
        "database_port": 1,
        "database_user": "auth",
        "redis_host": "127.0.0.1",
        "redis_port": 1,
        "redis_user": "default",
        "public_url": PUBLIC_URL,
        "health_interval": 3600.0,
        "dependency_timeout": 2.0,
    }
    return Settings(**(values | changes))


PASSWORD = "correct horse battery staple"
HOME = {"ip": "192.0.2.10", "user_agent": "Firefox"}
STRANGER = {"ip": "198.51.100.7", "user_agent": "curl"}


@dataclasses.dataclass
class Site:
    """A running service."""

    services: Services
    secrets: Secrets
    client: httpx2.AsyncClient
    gateway: Identity
    server: PostgresServer
    database: str
    since: int = 0
    """The last row of the audit log before this test."""
    ahead: float = 0.0
    """Seconds by which the service's clock is ahead of ours."""

    def headers(self, user_id: int | None = None, sid: str = "", scopes: str | None = None) -> dict[str, str]:
        """Of a call by the gateway, for a user perhaps."""
        given = scope_names.ROLES["owner"] if scopes is None else frozenset(scopes.split())
        user = None if user_id is None else OnBehalf(user_id, given, sid)
        return self.gateway.headers("auth", user)

    async def post(self, path: str, body: Any = None, **caller: Any) -> httpx2.Response:
        return await self.client.post(f"/internal/v1{path}", json=body or {}, headers=self.headers(**caller))

    async def get(self, path: str, **caller: Any) -> httpx2.Response:
        return await self.client.get(f"/internal/v1{path}", headers=self.headers(**caller))

    async def delete(self, path: str, **caller: Any) -> httpx2.Response:
        return await self.client.delete(f"/internal/v1{path}", headers=self.headers(**caller))

    async def login(self, email: str = "anna@example.org", password: str = PASSWORD, **more: Any) -> httpx2.Response:
        return await self.post("/login", {"email": email, "password": password, "client": HOME} | more)

    async def signed_in(self) -> dict[str, Any]:
        """Tokens of a new session of Anna's, with its id."""
        answer = await self.login()
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens | {"sid": self.services.tokens.verify(tokens["access_token"])["sid"]}

    async def owner(self, email: str = "anna@example.org") -> Account:
        """The first account, made over a link."""
        link = await self.services.setup.first_run(Peer(), "service:test")
        done = await self.services.setup.complete(link.url.partition("token=")[2], email, "Anna", PASSWORD, Peer())
        return done.account

    async def totp(self, user_id: int, **caller: Any) -> tuple[pyotp.TOTP, list[str]]:
        """An authenticator app and recovery codes; its clock goes on by a step, so that it has a fresh code."""
        begun = await self.post("/me/totp", {"current_password": PASSWORD}, user_id=user_id, **caller)
        assert begun.status_code == 200, begun.text
        app = pyotp.TOTP(begun.json()["secret"])
        confirmed = await self.post("/me/totp/confirm", {"code": self.code(app)}, user_id=user_id, **caller)
        assert confirmed.status_code == 200, confirmed.text
        self.ahead += 30
        return app, confirmed.json()["recovery_codes"]

    def code(self, app: pyotp.TOTP) -> str:
        """What the app shows now."""
        return app.generate_otp(int(time.time() + self.ahead) // 30)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows that the administrator of the database sees."""
        with self.server.connect(self.database) as connection:
            return connection.execute(statement, values).fetchall()  # type: ignore[arg-type] # a test's own text

    def audited(self) -> list[str]:
        """Actions in the audit log since the test began, in order."""
        return [row[0] for row in self.rows("select action from audit_log where id > %s order by id", self.since)]


@contextlib.asynccontextmanager
async def running_site(
    postgres: PostgresServer, database: str, redis: RedisServer, folder: Path, **changes: Any
) -> AsyncGenerator[Site]:
    """The service, with empty tables."""
    with postgres.connect(database) as connection:
        connection.execute("truncate users, setup_links, oauth_clients cascade")
    gateway = Identity("backend", SecretStr(_ed25519()))
    callers = folder / "callers.json"
    callers.write_text(json.dumps({"keys": [gateway.public_jwk()]}))
    values: dict[str, Any] = {
        "database_host": postgres.host,
        "database_port": postgres.port,
        "database_name": database,
        "redis_port": redis.port,
        "redis_user": "auth",
        "callers_file": callers,
        "trusted_proxies": "127.0.0.1",
    }
    found = settings(**(values | changes))
    held = secrets(redis_password=redis.password("auth"))
    site: Site | None = None
    services = make_services(found, held, lambda: time.time() + (site.ahead if site else 0.0))
    app = create_app(found, held, services)
    transport = httpx2.ASGITransport(app, client=("192.0.2.10", 1))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client,
    ):
        site = Site(services, held, client, gateway, postgres, database)
        site.since = site.rows("select coalesce(max(id), 0) from audit_log")[0][0]
        yield site


def _ed25519() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )
