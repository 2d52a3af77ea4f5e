"""The application as a whole: who is answered, and what its program says of bad settings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import auth_servers
import httpx2
import pytest
import pytest_asyncio
from zentoria_auth.app import create_app
from zentoria_auth.services import make_services
from zentoria_common.settings import SettingsError


@pytest_asyncio.fixture
async def nobody() -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of a service whose dependencies are all away."""
    app = create_app(auth_servers.settings(), auth_servers.secrets())
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="https://zentoria.test") as client,
    ):
        yield client


@pytest.mark.asyncio
async def test_health_names_what_is_away(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.get("/health")
    assert answer.status_code == 503
    reasons = {name: each["error"] for name, each in answer.json()["dependencies"].items()}
    assert reasons == dict.fromkeys(("database", "schema", "redis"), "connection refused")
    assert (await nobody.get("/health/live")).status_code == 200


@pytest.mark.asyncio
async def test_keys_are_public_and_hold_no_secret_part(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    (key,) = answer.json()["keys"]
    assert (key["alg"], key["crv"]) == ("ES256", "P-256")
    assert "d" not in key


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/internal/v1/login", "/internal/v1/anything", "/nothing"])
async def test_who_does_not_show_which_container_calls_is_not_answered(nobody: httpx2.AsyncClient, path: str) -> None:
    answer = await nobody.post(path, json={})
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/caller-unknown")


ENVIRONMENT = {
    "ZENTORIA_DATABASE_HOST": "127.0.0.1",
    "ZENTORIA_DATABASE_PORT": "1",
    "ZENTORIA_DATABASE_USER": "auth",
    "ZENTORIA_REDIS_HOST": "127.0.0.1",
    "ZENTORIA_REDIS_PORT": "1",
    "ZENTORIA_REDIS_USER": "auth",
    "ZENTORIA_PUBLIC_URL": auth_servers.PUBLIC_URL,
}


def program(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """The program, as its unit starts it."""
    texts = {"jwt_key": auth_servers.ec_key(), "seal_key": "canary-seal"}
    for name in ("database_password", "redis_password", "jwt_key", "seal_key"):
        path = folder / name
        path.write_text(texts.get(name, f"canary-{name}"))
        path.chmod(0o600)
    return subprocess.run(
        [sys.executable, "-c", f"from zentoria_auth.main import run; run({list(arguments)!r})"],
        env=ENVIRONMENT | {"CREDENTIALS_DIRECTORY": str(folder)} | changes,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_check_says_what_is_away_and_no_secret(tmp_path: Path) -> None:
    done = program(tmp_path, "check", "--wait", "0.1")
    assert done.returncode == 1
    assert '"database"' in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_bad_settings_are_one_line_and_exit_78(tmp_path: Path) -> None:
    done = program(tmp_path, ZENTORIA_PUBLIC_URL="https://zentoria.test/path")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (78, "", 1)
    assert "ZENTORIA_PUBLIC_URL" in done.stderr


@pytest.mark.parametrize("changes", [{"jwt_key": "canary"}, {"jwt_key": "-----BEGIN PRIVATE KEY-----\ncanary"}])
def test_a_key_that_is_none_is_a_setting_to_mend(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="ZENTORIA_JWT_KEY_FILE") as caught:
        make_services(auth_servers.settings(), auth_servers.secrets(**changes))
    assert "canary" not in str(caught.value)


def test_the_previous_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "previous"
    path.write_text(auth_servers.ec_key())
    made = make_services(auth_servers.settings(jwt_previous_key_file=path), auth_servers.secrets())
    assert len(made.tokens.keys.jwks()["keys"]) == 2
    with pytest.raises(SettingsError, match="FileNotFound"):
        make_services(auth_servers.settings(jwt_previous_key_file=tmp_path / "none"), auth_servers.secrets())
