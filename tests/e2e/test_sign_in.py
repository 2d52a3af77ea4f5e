"""The first day of a stack's owner: the link that `up` prints, an account, a token, a key, and the trail of it all."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.stack import RequestLoop, Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

EMAIL = "owner@example.com"
ASKS_AUTH = """
import json, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request("http://10.10.40.9:9000/internal/v1/login", b"{}"), timeout=20)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["type"])
"""
"""From the proxy's container, which the firewall lets through to that port, and which has no key."""
FIELD = re.compile(r'name="(?P<name>[a-z_]+)" value="(?P<value>[^"]*)"')


@pytest.fixture
def browser(stack: Stack) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.verify = str(stack.ca)
        session.trust_env = False
        yield session


def link_of(stack: Stack) -> str:
    """The link that `up` ends with; an account that is there from an earlier test gets one for a new password."""
    said = stack.zentoria("up", "--yes", check=True).out
    if found := re.search(r"^  (https://\S+/auth/setup\?token=\S+)$", said, re.MULTILINE):
        return found[1]
    reset = stack.zentoria("users", "reset", EMAIL, "--second-factors", "--yes", "--json", check=True)
    return str(json.loads(reset.out)["url"])


def test_the_owner_begins(stack: Stack, browser: requests.Session, tmp_path: Path) -> None:
    password = secrets.token_urlsafe(16)
    link = link_of(stack)
    base = link.partition("/auth/")[0]
    page = browser.get(f"{base}/setup?token={link.partition('token=')[2]}", timeout=60)
    assert page.status_code == 200, page.text
    assert [one.status_code for one in page.history] == [302, 303]  # the proxy's, then the token leaves the address
    assert "token=" not in page.url
    fields = {match["name"]: match["value"] for match in FIELD.finditer(page.text)}
    fields |= {"email": EMAIL, "name": "Owner", "password": password, "again": password}
    done = browser.post(f"{base}/auth/setup", data=fields, headers={"Origin": base}, timeout=60)
    assert done.status_code == 200, done.text
    again = requests.get(link, verify=str(stack.ca), timeout=60)
    assert again.status_code == 410  # once

    wrong = browser.post(f"{base}/api/v1/auth/login", json={"email": EMAIL, "password": "not this one"}, timeout=60)
    assert (wrong.status_code, wrong.json()["type"]) == (401, "/problems/bad-credentials")
    signed = browser.post(f"{base}/api/v1/auth/login", json={"email": EMAIL, "password": password}, timeout=60)
    assert signed.status_code == 200, signed.text
    token = {"Authorization": f"Bearer {signed.json()['access_token']}"}
    me = browser.get(f"{base}/api/v1/users/me", headers=token, timeout=60)
    assert (me.status_code, me.json()["email"], me.json()["role"]) == (200, EMAIL, "owner")

    wanted = {"name": "script", "scopes": ["keys:read", "audit:read"]}
    made = browser.post(f"{base}/api/v1/keys", json=wanted, headers=token, timeout=60)
    assert made.status_code == 201, made.text
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    listed = browser.get(f"{base}/api/v1/keys", headers=key, timeout=60)
    assert [one["name"] for one in listed.json()["items"]].count("script") >= 1
    refused = browser.post(f"{base}/api/v1/keys", json=wanted, headers=key, timeout=60)
    assert refused.status_code == 403

    # Nobody but the gateway is answered by what is inside, and the proxy leads nobody there.
    outside = browser.post(f"{base}/internal/v1/login", json={}, timeout=60)
    assert outside.status_code in (404, 503)
    inside = stack.zentoria("exec", "proxy", "--", "python3", "-c", ASKS_AUTH, check=True)
    assert inside.out.split() == ["401", "/problems/caller-unknown"]

    trail = tmp_path / "trail.jsonl"
    stack.zentoria("audit", "export", "--out", str(trail), check=True)
    text = trail.read_text()
    actions = {json.loads(line)["action"] for line in text.splitlines()}
    assert {"auth.setup_link_made", "keys.created"} & actions
    for name in ("auth", "backend", "proxy"):
        text += stack.zentoria("logs", name, "--lines", "5000", check=True).out
    tokens = [signed.json()[name] for name in ("access_token", "refresh_token")]
    for secret in (password, link.partition("token=")[2], made.json()["key"], *tokens):
        assert secret not in text
    verdict = stack.zentoria("audit", "verify", str(trail), check=True)
    assert "rows hold" in verdict.out
    assert "/auth/setup" not in stack.zentoria("up", "--yes", check=True).out


def test_sign_in_is_deployed_without_a_failed_request(stack: Stack) -> None:
    with RequestLoop(stack, "/.well-known/jwks.json") as load:
        stack.zentoria("redeploy", "auth", check=True)
    assert load.bad == []
    assert load.good > 10
