"""A file's way through the stack, by hand and by somebody else's program: what gateway and storage are for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pyotp
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.patience import patience
from tests.support.soak import sampled
from tests.support.stack import RequestLoop, Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

EMAIL = "files@example.com"
SIZE = 50 * 1024 * 1024
FIELD = re.compile(r'name="(?P<name>[a-z_]+)" value="(?P<value>[^"]*)"')


class Person:
    """An account with a second factor, signed in over HTTPS through the proxy."""

    def __init__(self, stack: Stack) -> None:
        self.base = f"https://localhost:{stack.ports['https']}"
        self.ca = str(stack.ca)
        self.session = requests.Session()
        self.session.verify, self.session.trust_env = self.ca, False

    def call(self, method: str, path: str, status: int, key: str | None = None, **more: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= more.pop("headers", {})  # type: ignore[arg-type] # a dictionary
        answer = self.session.request(method, self.base + path, headers=headers, timeout=120, **more)  # type: ignore[arg-type] # as given
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer


@pytest.fixture(scope="module")
def content() -> bytes:
    return b"%PDF-1.7\n" + secrets.token_bytes(SIZE)


@pytest.fixture(scope="module")
def person(lab: Stack, cold: object) -> Iterator[Person]:
    made = Person(lab)
    yield made
    made.session.close()


@pytest.fixture(scope="module")
def token(lab: Stack, person: Person) -> str:
    """Signed in with a password and a code, as everybody should be."""
    made = json.loads(lab.zentoria("users", "create", EMAIL, "--json", check=True).out)
    password = secrets.token_urlsafe(16)
    page = person.session.get(made["url"], timeout=60)
    fields = {match["name"]: match["value"] for match in FIELD.finditer(page.text)}
    fields |= {"name": "Files", "password": password, "again": password}
    person.call("POST", "/auth/setup", 200, data=fields, headers={"Origin": person.base})
    login = {"email": EMAIL, "password": password}
    first = person.call("POST", "/api/v1/auth/login", 200, json=login).json()["access_token"]
    app = person.call("POST", "/api/v1/users/me/totp", 200, first, json={"current_password": password}).json()
    clock = pyotp.TOTP(app["secret"])
    person.call("POST", "/api/v1/users/me/totp/confirm", 200, first, json={"code": clock.at(int(time.time()))})
    asked = person.call("POST", "/api/v1/auth/login", 401, json=login).json()
    assert asked["type"] == "/problems/otp-required"
    # The code that was used for confirming is used up; the next one is good ahead of its time.
    second = {"challenge": asked["challenge"], "otp": clock.at(int(time.time()) + 30)}
    return str(person.call("POST", "/api/v1/auth/login", 200, json=second).json()["access_token"])


@pytest.fixture(scope="module")
def key(person: Person, token: str) -> str:
    wanted = {"name": "a program", "scopes": ["files:read", "files:write", "jobs:read"]}
    return str(person.call("POST", "/api/v1/keys", 201, token, json=wanted).json()["key"])


def test_a_file_goes_in_and_comes_out_in_parts(person: Person, key: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    headers = {"Content-Type": "application/pdf"}
    taken = person.call("PUT", "/api/v1/uploads?filename=big.pdf", 202, key, data=content, headers=headers).json()
    job = finished(person, key, taken["job"]["id"])
    assert job["state"] == "done", job
    path = f"/api/v1/files/{job['file_id']}"
    assert person.call("GET", path, 200, key).json()["sha256"] == digest
    half = len(content) // 2
    parts = [
        person.call("GET", f"{path}/content", 206, key, headers={"Range": one}).content
        for one in (f"bytes=0-{half - 1}", f"bytes={half}-")
    ]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == digest
    person.call("POST", "/api/v1/keys", 403, key, json={"name": "more", "scopes": ["files:read"]})


def test_a_program_that_speaks_mcp_sees_what_its_key_lets_it(person: Person, key: str, token: str) -> None:
    tools, files = asyncio.run(ask(person, key))
    assert "files_list" in tools
    assert not {"keys_create", "workflows_run"} & set(tools)
    assert [one["filename"] for one in files["items"]].count("big.pdf") == 1
    person.call("POST", "/mcp", 401, json={})


def test_who_did_what_is_told_and_holds(lab: Stack, person: Person, key: str, tmp_path: Path) -> None:
    trail = tmp_path / "trail.jsonl"
    lab.zentoria("audit", "export", "--out", str(trail), check=True)
    text = trail.read_text()
    actions = [json.loads(line)["action"] for line in text.splitlines()]
    assert {"auth.login", "auth.totp_added", "keys.create", "files.upload", "files.download", "mcp.tool"} <= set(
        actions
    ), sorted(set(actions))
    assert key not in text
    lab.zentoria("audit", "verify", str(trail), check=True)
    trail.write_text(text.replace('"files.download"', '"files.looked_at"', 1))
    assert lab.zentoria("audit", "verify", str(trail)).code == 1


def test_gateway_and_sign_in_are_deployed_under_load_without_a_failed_request(lab: Stack, person: Person) -> None:
    with RequestLoop(lab, "/api/v1/health/live") as api, RequestLoop(lab, "/.well-known/jwks.json") as sign_in:
        lab.zentoria("redeploy", "backend", "auth", check=True)
    assert (api.bad, sign_in.bad) == ([], [])
    assert min(api.good, sign_in.good) > 10


@pytest.mark.parametrize("share", sampled([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [0.4]))
def test_a_gateway_that_is_killed_in_an_upload_leaves_nothing_half(
    lab: Stack, person: Person, key: str, content: bytes, share: float
) -> None:
    before = listed(person, key)

    def dying() -> Iterator[bytes]:
        moment = int(len(content) * share)
        for at in range(0, len(content), 1 << 20):
            if at <= moment < at + (1 << 20):
                lab.zentoria("exec", "backend", "--", "systemctl", "kill", "-s", "KILL", "zentoria-backend", check=True)
            yield content[at : at + (1 << 20)]

    url, headers = f"{person.base}/api/v1/uploads?filename=half.pdf", {"Authorization": f"Bearer {key}"}
    try:
        answer = person.session.put(url, data=dying(), headers=headers, timeout=120)
    except requests.ConnectionError:
        pass  # the proxy may close while we still send
    else:
        assert answer.status_code in (502, 503, 504), answer.text
    until(lambda: person.session.get(f"{person.base}/api/v1/health", timeout=60).status_code == 200)
    assert listed(person, key) == before
    taken = person.call("PUT", "/api/v1/uploads?filename=whole.pdf", 202, key, data=content[:100_000]).json()
    assert finished(person, key, taken["job"]["id"])["state"] == "done"


def listed(person: Person, key: str) -> list[str]:
    """Files that are there, by their ids."""
    return [one["id"] for one in person.call("GET", "/api/v1/files?limit=200", 200, key).json()["items"]]


def finished(person: Person, key: str, job: str) -> dict[str, object]:
    """A job at its end."""
    found: dict[str, object] = {}

    def ended() -> bool:
        found.update(person.call("GET", f"/api/v1/jobs/{job}", 200, key).json())
        return found["state"] not in ("queued", "running")

    until(ended)
    return found


def until(right: Callable[[], bool]) -> None:
    """Wait for something that comes, with patience for a machine that has much to do."""
    last = time.monotonic() + patience(60)
    while not right():
        assert time.monotonic() < last, "it does not come"
        time.sleep(0.2)


async def ask(person: Person, key: str) -> tuple[list[str], dict[str, list[dict[str, object]]]]:
    """Tools that are there for a key, and what one of them says."""
    verified = ssl.create_default_context(cafile=person.ca)
    headers = {"Authorization": f"Bearer {key}"}
    http = httpx2.AsyncClient(verify=verified, headers=headers, timeout=60, trust_env=False)
    async with http, Client(streamable_http_client(f"{person.base}/mcp", http_client=http)) as client:
        tools = [one.name for one in (await client.list_tools()).tools]
        answer = await client.call_tool("files_list", {})
        assert not answer.is_error, answer
        return tools, answer.structured_content
