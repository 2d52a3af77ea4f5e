"""A store goes away under those who use it, and comes back: who waits is told so, and nobody restarts anything."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.patience import patience
from tests.support.stack import Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]

FIELD = re.compile(r'name="(?P<name>[a-z_]+)" value="(?P<value>[^"]*)"')
POSTGRESQL = "postgresql@17-main.service"


class Person:
    """An account, signed in; its tokens are renewed through Redis, its name is read from PostgreSQL."""

    def __init__(self, stack: Stack, email: str) -> None:
        self.stack, self.base = stack, f"https://localhost:{stack.ports['https']}"
        self.session = requests.Session()
        self.session.verify, self.session.trust_env = str(stack.ca), False
        made = json.loads(stack.zentoria("users", "create", email, "--json", check=True).out)
        self.login = {"email": email, "password": secrets.token_urlsafe(16)}
        page = self.session.get(made["url"], timeout=60)
        fields = {match["name"]: match["value"] for match in FIELD.finditer(page.text)}
        fields |= {"name": "Away", "password": self.login["password"], "again": self.login["password"]}
        done = self.session.post(f"{self.base}/auth/setup", data=fields, headers={"Origin": self.base}, timeout=60)
        assert done.status_code == 200, done.text
        signed = self.session.post(f"{self.base}/api/v1/auth/login", json=self.login, timeout=60)
        assert signed.status_code == 200, signed.text
        self.tokens = signed.json()

    def me(self) -> requests.Response:
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return self.session.get(f"{self.base}/api/v1/users/me", headers=bearer, timeout=60)

    def refresh(self) -> requests.Response:
        body = {"refresh_token": self.tokens["refresh_token"]}
        return self.session.post(f"{self.base}/api/v1/auth/refresh", json=body, timeout=60)


def inside(stack: Stack, name: str, *command: str) -> str:
    return stack.zentoria("exec", name, "--", *command, check=True).out.strip()


def refused(answer: requests.Response) -> None:
    """It says that something is away, and when to ask again."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


def until(right: Callable[[], bool]) -> None:
    last = time.monotonic() + patience(60)
    while not right():
        assert time.monotonic() < last, "it does not come"
        time.sleep(0.3)


def test_without_redis_reads_go_on_and_who_was_signed_in_still_is_after_it(stack: Stack) -> None:
    person = Person(stack, "redis-away@example.com")
    inside(stack, "redis", "systemctl", "stop", "redis-server.service")
    try:
        assert person.me().status_code == 200
        refused(person.refresh())
    finally:
        inside(stack, "redis", "systemctl", "start", "redis-server.service")
    until(lambda: person.session.get(f"{person.base}/api/v1/health", timeout=60).status_code == 200)
    answers: list[requests.Response] = []

    def answered() -> bool:
        answers.append(person.refresh())
        return answers[-1].status_code != 503

    until(answered)
    assert answers[-1].status_code == 200, answers[-1].text  # families are written by scripts: none was forgotten
    assert person.me().status_code == 200


def test_without_postgresql_nobody_hangs_and_killed_it_comes_back_by_itself(stack: Stack) -> None:
    person = Person(stack, "postgresql-away@example.com")
    inside(stack, "db", "systemctl", "stop", POSTGRESQL)
    try:
        refused(person.me())
        assert person.session.get(f"{person.base}/api/v1/health/live", timeout=60).status_code == 200
    finally:
        inside(stack, "db", "systemctl", "start", POSTGRESQL)
    until(lambda: person.me().status_code == 200)
    before = main_process(stack)
    inside(stack, "db", "kill", "-KILL", before)
    until(lambda: main_process(stack) not in ("0", before))
    until(lambda: person.me().status_code == 200)


def main_process(stack: Stack) -> str:
    """PostgreSQL's first process; 0 while there is none."""
    return inside(stack, "db", "systemctl", "show", "--property", "MainPID", "--value", POSTGRESQL)
