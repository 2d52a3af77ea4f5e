"""The gateway before the real auth service, both in this process, on one database and one Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import zentoria_auth.app
import zentoria_auth.services
import zentoria_auth.settings
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_kit import PUBLIC_URL, World, client_of
from pydantic import SecretStr
from zentoria_auth.peer import Peer
from zentoria_backend.app import create_app
from zentoria_backend.services import make_services

EMAIL, PASSWORD = "anna@example.org", "correct horse battery staple"


@pytest_asyncio.fixture
async def gateway(world: World, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The gateway, with an account at the auth service behind it."""
    world.redis.flush()
    world.admin.execute("truncate users, setup_links, oauth_clients cascade")
    callers = tmp_path / "callers.json"
    callers.write_text(json.dumps({"keys": [world.auth.gateway.public_jwk()]}))
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    settings = zentoria_auth.settings.Settings(
        database_host=world.postgres.host, database_port=world.postgres.port, database_name=world.database,
        database_user="auth", redis_host="127.0.0.1", redis_port=world.redis.port, redis_user="auth",
        public_url=PUBLIC_URL, callers_file=callers, container_name="auth", health_interval=3600.0,
    )  # fmt: skip
    secrets = zentoria_auth.settings.Secrets(
        database_password=SecretStr("x"), redis_password=SecretStr(world.redis.password("auth")),
        jwt_key=SecretStr(pem.decode()), seal_key=SecretStr("a key that seals"),
    )  # fmt: skip
    services = zentoria_auth.services.make_services(settings, secrets)
    auth = zentoria_auth.app.create_app(settings, secrets, services)
    ours = make_services(
        world.settings(), world.secrets, identity=world.auth.gateway, transport=httpx2.ASGITransport(app=auth)
    )
    app = create_app(world.settings(), ours, ())
    async with auth.router.lifespan_context(auth), app.router.lifespan_context(app), client_of(app) as client:
        link = await services.setup.first_run(Peer(), "service:test")
        await services.setup.complete(link.url.partition("token=")[2], EMAIL, "Anna", PASSWORD, Peer())
        yield client


async def sign_in(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@pytest.mark.asyncio
async def test_from_sign_in_to_sign_out(gateway: httpx2.AsyncClient, world: World) -> None:
    wrong = await gateway.post("/api/v1/auth/login", json={"email": EMAIL, "password": "x"})
    assert (wrong.status_code, wrong.json()["type"]) == (401, "/problems/bad-credentials")
    tokens = await sign_in(gateway)
    me = (await gateway.get("/api/v1/users/me", headers=bearer(tokens))).json()
    assert (me["email"], me["role"], me["has_password"]) == (EMAIL, "owner", True)
    sessions = (await gateway.get("/api/v1/sessions", headers=bearer(tokens))).json()["items"]
    assert [(one["current"], one["ip_address"]) for one in sessions] == [(True, "203.0.113.9")]
    body = {"name": "backup", "scopes": ["profile:read"]}
    key = (await gateway.post("/api/v1/keys", json=body, headers=bearer(tokens))).json()["key"]
    assert (await gateway.get("/api/v1/users/me", headers={"X-API-Key": key})).json()["email"] == EMAIL
    fresh = (await gateway.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    assert (await gateway.get("/api/v1/users/me", headers=bearer(fresh))).status_code == 200
    out = await gateway.post("/api/v1/auth/logout", json={"refresh_token": fresh["refresh_token"]})
    assert out.status_code == 204
    for each in (tokens, fresh):
        answer = await gateway.get("/api/v1/users/me", headers=bearer(each))
        assert (answer.status_code, answer.json()["detail"]) == (401, "the session has ended")
    actions = [row["action"] for row in world.audit()]
    assert "keys.create" in actions
    assert any("login" in action or "sign" in action for action in actions)


@pytest.mark.asyncio
async def test_a_session_is_ended_from_another(gateway: httpx2.AsyncClient) -> None:
    one, other = await sign_in(gateway), await sign_in(gateway)
    listed = (await gateway.get("/api/v1/sessions", headers=bearer(one))).json()["items"]
    theirs = next(each["id"] for each in listed if not each["current"])
    assert (await gateway.get("/api/v1/users/me", headers=bearer(other))).status_code == 200
    assert (await gateway.delete(f"/api/v1/sessions/{theirs}", headers=bearer(one))).status_code == 204
    assert (await gateway.get("/api/v1/users/me", headers=bearer(other))).status_code == 401
    assert (await gateway.get("/api/v1/users/me", headers=bearer(one))).status_code == 200


@pytest.mark.asyncio
async def test_a_password_and_a_second_factor(gateway: httpx2.AsyncClient) -> None:
    tokens = await sign_in(gateway)
    begun = await gateway.post("/api/v1/users/me/totp", json={"current_password": PASSWORD}, headers=bearer(tokens))
    assert begun.status_code == 200, begun.text
    assert begun.json()["uri"].startswith("otpauth://totp/")
    bad = await gateway.post("/api/v1/users/me/totp/confirm", json={"code": "000000"}, headers=bearer(tokens))
    assert bad.status_code in (400, 401, 403, 409, 422)
    assert (await gateway.get("/api/v1/users/me/passkeys", headers=bearer(tokens))).json()["items"] == []
    change = {"current_password": PASSWORD, "new_password": "another horse battery staple"}
    answer = await gateway.post("/api/v1/users/me/password", json=change, headers=bearer(tokens))
    assert answer.status_code == 204, answer.text
    wrong = await gateway.post("/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert wrong.status_code == 401
