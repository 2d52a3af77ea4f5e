"""PostgreSQL away, secrets in places where none belong, and requests that nobody would make by hand."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from auth_browser import Browser, Device
from auth_servers import HOME, PASSWORD, PUBLIC_URL, Site, running_site
from hypothesis import HealthCheck, given, settings
from real_servers import RedisServer
from redis.asyncio import Redis
from schemathesis import GenerationMode
from zentoria_auth.peer import Peer
from zentoria_common import logs
from zentoria_schema.embedded import PostgresServer


class Relay:
    """A port that leads to PostgreSQL, until it is cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.server: asyncio.Server | None = None
        self.open: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        self.server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in list(self.open):
            writer.transport.abort()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self.open |= {writer, back}
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(one, other))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self.open.discard(writer)


@pytest.mark.asyncio
async def test_without_the_database_nothing_is_spent_and_all_goes_on_when_it_is_back(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.flush()
    relay = Relay(postgres_server.port)
    await relay.restore()
    async with running_site(postgres_server, core_database, redis_server, tmp_path, database_port=relay.port) as site:
        anna = await site.owner()
        tokens = await site.signed_in()
        browser = Browser(site)
        await browser.sign_in(PASSWORD)
        await relay.cut()
        refreshed = {"refresh_token": tokens["refresh_token"]}
        for answer in (
            await site.post("/refresh", refreshed),
            await site.login(),
            await site.get("/me", user_id=anna.id),
            await site.get("/sessions", user_id=anna.id),
            await browser.get("/auth/security"),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert (await site.client.get("/.well-known/jwks.json")).status_code == 200
        await relay.restore()
        assert (await site.post("/refresh", refreshed)).status_code == 200
        assert (await site.login()).status_code == 200
        assert (await browser.get("/auth/security")).status_code == 200
        assert "auth.refresh_reuse" not in site.audited()
    await relay.cut()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log as it leaves the process, with everything in it; the root logger is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("debug", package="zentoria_auth")
    stream = io.StringIO()
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.asyncio
async def test_no_secret_is_in_log_metrics_audit_or_redis(
    log: io.StringIO, site: Site, redis_admin: Redis, redis_server: RedisServer
) -> None:
    secrets = [PASSWORD, "canary-wrong-password", "canary-typed-as-name", "canary-new password of mine"]
    link = await site.services.setup.first_run(Peer(), "service:test")
    secrets.append(link.url.partition("token=")[2])
    browser, device = Browser(site), Device()
    await browser.get(link.url)
    fields = {"email": "anna@example.org", "name": "Anna"}
    await browser.post("/auth/setup", **fields, password="canary-new password of mine", again="another")
    await browser.post("/auth/setup", **fields, password=PASSWORD, again=PASSWORD)
    await browser.post("/auth/security/totp")
    await browser.get("/auth/security/passkey")
    question = await browser.ask("/auth/security/passkey/options")
    made = device.make(question["options"])
    await browser.post("/auth/security/passkey", question=question["id"], credential=json.dumps(made), name="x")
    secrets += [browser.client.cookies["__Host-zentoria_auth"].partition(".")[2], question["options"]["challenge"]]
    ((anna,),) = site.rows("select id from users")
    app, codes = await site.totp(anna)
    secrets += [app.secret, *codes]
    await site.login("canary-typed-as-name", PASSWORD)
    await site.login(password="canary-wrong-password")
    first = await site.login()
    secrets.append(first.json()["challenge"])
    done = await site.post("/login", {"challenge": first.json()["challenge"], "otp": site.code(app), "client": HOME})
    tokens = done.json()
    turned = (await site.post("/refresh", {"refresh_token": tokens["refresh_token"]})).json()
    for one in (tokens, turned):
        secrets += [one["access_token"], one["refresh_token"].split("_", 2)[2]]
    await site.post("/login", {"email": ["canary-typed-as-name"], "password": {"x": PASSWORD}})
    redis_server.stop()  # what is logged of an outage is looked at too
    try:
        assert (await site.login(password="canary-wrong-password")).status_code == 503
    finally:
        redis_server.start()
    metrics = (await site.client.get("/metrics")).text
    rows = str(site.rows("select audit_log::text from audit_log where id > %s", site.since))
    kept = ""
    for key in await redis_admin.keys("*"):
        read: Any = {"hash": redis_admin.hgetall, "set": redis_admin.smembers}
        kept += key + str(await read.get(await redis_admin.type(key), redis_admin.get)(key))
    held = [getattr(site.secrets, name).get_secret_value() for name in ("jwt_key", "seal_key", "redis_password")]
    tables = str(
        [site.rows(f"select t::text from {name} t") for name in ("sessions", "setup_links", "recovery_codes", "users")]  # noqa: S608 - ours
    )
    challenges = {question["options"]["challenge"]}  # what a browser was asked is public, and gone when answered
    for secret in [*secrets, *held]:
        for place, text in (("log", log.getvalue()), ("metrics", metrics), ("audit", rows), ("tables", tables)):
            assert secret not in text, (place, secrets.index(secret) if secret in secrets else "held")
        assert secret in challenges or secret not in kept, ("redis", secrets.index(secret))
    assert "otpauth" not in kept
    assert log.getvalue().count("\n") > 10


EXAMPLES = 8
"""Of each route, right ones and wrong ones."""


@pytest.mark.slow
def test_no_request_of_schemathesis_is_a_500_or_an_answer_that_is_not_documented(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Every route for the gateway, called for the owner."""
    redis_server.flush()
    with asyncio.Runner() as runner:
        entered = running_site(postgres_server, core_database, redis_server, tmp_path)
        site = runner.run(entered.__aenter__())
        try:
            owner = runner.run(site.owner())
            transport: Any = site.client._transport
            schema = schemathesis.openapi.from_dict(transport.app.openapi())
            operations = [found.ok() for found in schema.get_all_operations()]
            asked = [operation for operation in operations if operation.path.startswith("/internal/")]
            assert len(asked) >= 20
            for operation in asked:
                attack(site, runner, redis_server, operation, owner.id, GenerationMode.POSITIVE)
                if operation.body:
                    attack(site, runner, redis_server, operation, owner.id, GenerationMode.NEGATIVE)
        finally:
            runner.run(entered.__aexit__(None, None, None))


def attack(
    site: Site, runner: asyncio.Runner, redis: RedisServer, operation: Any, user_id: int, mode: GenerationMode
) -> None:
    """Send one route what hypothesis thinks of: right by the document, or wrong."""
    documented = {int(status) for status in operation.definition.raw["responses"]}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def one(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url=PUBLIC_URL)
        given_headers = {name: value for name, value in dict(sent.get("headers") or {}).items() if value is not None}
        headers = given_headers | site.headers(user_id)
        body = {name: sent[name] for name in ("json", "data", "params") if sent.get(name) is not None}
        if isinstance(body.get("data"), bytes | str):
            body["content"] = body.pop("data")
        redis.flush()  # no delays: they would keep the rest from being tried
        answer = runner.run(site.client.request(sent["method"], sent["url"], headers=headers, **body))
        assert answer.status_code < 500, (operation.label, sent, answer.text)
        assert answer.status_code in documented, (operation.label, answer.status_code, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"

    one()
