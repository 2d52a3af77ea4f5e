"""What tests of the gateway stand on: a real PostgreSQL and Redis, users, sessions, keys, an auth service's keys."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from fastapi import FastAPI, Request, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from psycopg import Connection
from pydantic import SecretStr
from real_servers import RedisServer, S3Server
from starlette.responses import JSONResponse
from zentoria_backend.app import create_app
from zentoria_backend.services import Services, make_services
from zentoria_backend.settings import Secrets, Settings
from zentoria_common.identity import Callers, Identity
from zentoria_common.scopes import ROLES, Role
from zentoria_common.server import make_server
from zentoria_schema.embedded import PostgresServer

PUBLIC_URL = "https://zentoria.test"


class AuthService:
    """Stands for container 409: signs tokens, serves its keys, and answers its internal API as it is told."""

    def __init__(self) -> None:
        self.keys: list[ECKey] = []
        self.rotate()
        self.asked: list[tuple[str, str, dict[str, Any], dict[str, str]]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.sessions: dict[str, int] = {}
        """Sessions that it may end, by id; whose they are."""
        self.passkeys: dict[str, int] = {}
        self.fetched = 0
        self.away = False
        pem = OKPKey.generate_key("Ed25519").as_pem(private=True).decode()
        self.gateway = Identity("backend", SecretStr(pem))
        self.callers = Callers("auth", [OKPKey.import_key(self.gateway.public_jwk())])
        self.app = FastAPI()
        self.app.get("/.well-known/jwks.json")(self._jwks)
        self.app.api_route("/internal/v1/{path:path}", methods=["GET", "POST", "PATCH", "DELETE"])(self._internal)

    def rotate(self) -> None:
        self.keys.append(ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "use": "sig", "alg": "ES256"}))

    def token(self, user_id: int, *, role: Role = "owner", sid: str | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": PUBLIC_URL, "sub": str(user_id), "aud": f"{PUBLIC_URL}/api", "exp": now + 900, "iat": now,
            "jti": uuid.uuid4().hex, "sid": sid, "scope": " ".join(sorted(ROLES.get(role, ()))),
            "client_id": "zentoria-web", "role": role, "amr": ["pwd"],
        } | changes  # fmt: skip
        key = self.keys[-1]
        header = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
        return jwt.encode(header, {name: value for name, value in claims.items() if value is not None}, key)

    async def _jwks(self) -> dict[str, Any]:
        self.fetched += 1
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    async def _internal(self, path: str, request: Request) -> Response:
        body = await request.body()
        self.asked.append((request.method, path, json.loads(body or b"{}"), dict(request.headers)))
        if path.startswith("me/passkeys/") and path.endswith("/remove"):
            mine = self.user_of(request) == self.passkeys.get(path.split("/")[2])
            return Response(status_code=204) if mine else JSONResponse({"detail": "there is no such passkey"}, 404)
        kind, _, identifier = path.partition("/")
        if (request.method, kind) == ("DELETE", "sessions") and identifier in self.sessions:
            mine = self.user_of(request) == self.sessions[identifier]
            return Response(status_code=204) if mine else JSONResponse({"detail": "there is no such session"}, 404)
        status, answer = self.answers.get((request.method, path), (404, {"type": "about:blank", "status": 404}))
        return JSONResponse(answer, status) if answer is not None else Response(status_code=status)

    def user_of(self, request: Request) -> int | None:
        """For whom the gateway says that it asks."""
        shown = request.headers.get("zentoria-user", "")
        return self.callers.on_behalf(shown).user_id if shown else None

    def transport(self) -> httpx2.AsyncBaseTransport:
        inner = httpx2.ASGITransport(app=self.app)

        class Gate(httpx2.AsyncBaseTransport):
            async def handle_async_request(this, request: httpx2.Request) -> httpx2.Response:
                if self.away or request.url.host != "auth.test":
                    raise httpx2.ConnectError("refused", request=request)
                return await inner.handle_async_request(request)

        return Gate()


ME = {"id": 1, "email": "a@b.cd", "name": "Ada", "role": "owner", "created_at": "2026-11-29T00:00:00Z"}
TOKENS = {
    "access_token": "a.b.c", "token_type": "Bearer", "expires_in": 900, "refresh_token": "ztr_f_s",
    "refresh_expires_in": 604800, "user": {"id": 1, "email": "a@b.cd", "name": "Ada", "role": "owner"},
}  # fmt: skip
_CODES: dict[str, Any] = {"recovery_codes": ["a-b"]}
GOOD_ANSWERS: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "me"): (200, ME),
    ("GET", "me/passkeys"): (200, {"items": [], "next_cursor": None}),
    ("GET", "sessions"): (200, {"items": [], "next_cursor": None}),
    ("PATCH", "me"): (200, ME),
    ("POST", "login"): (200, TOKENS),
    ("POST", "logout"): (204, None),
    ("POST", "me/passkeys"): (201, _CODES | {"id": "0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"}),
    ("POST", "me/passkeys/options"): (200, {"id": "q", "options": {}}),
    ("POST", "me/password"): (204, None),
    ("POST", "me/recovery-codes"): (200, _CODES),
    ("POST", "me/totp"): (200, {"secret": "S", "uri": "otpauth://totp/x"}),
    ("POST", "me/totp/confirm"): (200, _CODES),
    ("POST", "me/totp/remove"): (204, None),
    ("POST", "passkeys/options"): (200, {"id": "q", "options": {}}),
    ("POST", "refresh"): (200, TOKENS),
}
"""What the auth service answers when all is well."""


@dataclasses.dataclass(frozen=True)
class Person:
    """A user with a session."""

    id: int
    role: Role
    sid: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def make_person(admin: Connection[Any], auth: AuthService, role: Role = "owner") -> Person:
    row = admin.execute(
        "insert into users (email, name, role) values (%s, 'Ada', %s) returning id",
        [f"{secrets.token_hex(6)}@example.org", role],
    ).fetchone()
    assert row is not None
    sid = str(uuid.uuid4())
    admin.execute(
        "insert into sessions (id, user_id, expires_at) values (%s, %s, now() + interval '7 days')", [sid, row[0]]
    )
    return Person(row[0], role, sid, auth.token(row[0], role=role, sid=sid))


def make_key(admin: Connection[Any], user_id: int, *scopes: str, **columns: Any) -> str:
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    text = f"zt_{prefix}_{secret}"
    values = {
        "user_id": user_id, "name": "test", "prefix": prefix, "key_hash": hashlib.sha256(text.encode()).digest(),
        "scopes": list(scopes), **columns,
    }  # fmt: skip
    admin.execute(
        f"insert into api_keys ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})",  # noqa: S608 - a test's own names
        list(values.values()),
    )
    return text


@dataclasses.dataclass
class World:
    """One application with what it works on."""

    postgres: PostgresServer
    database: str
    redis: RedisServer
    auth: AuthService
    admin: Connection[Any]
    s3: S3Server | None = None
    started: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)
    """Servers that a test started again."""

    @property
    def secrets(self) -> Secrets:
        key = self.s3.secret_key("backend") if self.s3 else "any"
        return Secrets(SecretStr("any is right"), SecretStr(self.redis.password("backend")), SecretStr(key))

    def settings(self, **changes: Any) -> Settings:
        values: dict[str, Any] = {
            "database_host": self.postgres.host, "database_port": self.postgres.port, "database_name": self.database,
            "database_user": "backend", "redis_host": "127.0.0.1", "redis_port": self.redis.port,
            "redis_user": "backend", "s3_endpoint": self.s3.endpoint if self.s3 else "http://127.0.0.1:1",
            "s3_access_key": "backend", "database_direct_port": self.postgres.port,
            "container_name": "backend", "public_url": PUBLIC_URL,
            "auth_url": "http://auth.test", "health_interval": 3600.0, "dependency_timeout": 2.0,
            "limit_sign_in": 1000, "limit_failures": 1000, "limit_address": 100_000, "limit_user": 100_000,
            "limit_key": 100_000,
        }  # fmt: skip
        return Settings(**(values | changes))

    def services(self, **changes: Any) -> Services:
        return make_services(
            self.settings(**changes), self.secrets, identity=self.auth.gateway, transport=self.auth.transport()
        )

    def person(self, role: Role = "owner") -> Person:
        return make_person(self.admin, self.auth, role)

    def key(self, user_id: int, *scopes: str, **columns: Any) -> str:
        return make_key(self.admin, user_id, *scopes, **columns)

    def audit(self, *, after: int = 0) -> list[dict[str, Any]]:
        cursor = self.admin.execute(
            "select id, user_id, action, resource_type, resource_id, host(ip_address), user_agent, details, severity,"
            " actor, request_id from audit_log where id > %s order by id", [after]
        )  # fmt: skip
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def last_audit(self) -> int:
        row = self.admin.execute("select coalesce(max(id), 0) from audit_log").fetchone()
        assert row is not None
        return int(row[0])

    @contextlib.asynccontextmanager
    async def client(self, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
        app = self.app(**changes)
        async with app.router.lifespan_context(app), client_of(app) as client:
            yield client

    def app(self, **changes: Any) -> FastAPI:
        settings = self.settings(**changes)
        services = make_services(settings, self.secrets, identity=self.auth.gateway, transport=self.auth.transport())
        return create_app(settings, services, ())


def client_of(app: FastAPI, address: str = "203.0.113.9") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 4711))
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway.test")


@contextlib.contextmanager
def serving(app: FastAPI, settings: Settings) -> Iterator[str]:
    """The application on a real socket, in a thread of this process; its base URL."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    sock.setblocking(False)
    server = make_server(settings, app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])), name="gateway")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
