"""The authorization server as clients and browsers see it, on real PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator
from typing import Any

import oauth_world
import pytest
import pytest_asyncio
from oauth_world import CALLBACK, ISSUER, PEER, VERIFIER, World, back, make_world, ticket_of
from real_servers import RedisServer
from zentoria_auth.oauth.clients import COMMAND_LINE, DEVICE_GRANT
from zentoria_auth.oauth.tickets import CODE_SECONDS
from zentoria_auth.sessions.service import Account
from zentoria_auth.signin import throttle
from zentoria_schema.embedded import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
MCP = f"{ISSUER}/mcp"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer
) -> AsyncGenerator[World]:
    made = make_world(postgres_server, core_database, redis_server, oauth_dynamic_registration=True)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(world: World) -> Account:
    return await world.user(f"ada{next(_numbers)}@zentoria.test")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World, ada: Account) -> dict[str, str]:
    return await world.browser(ada)


def claims(world: World, token: str, audience: str = MCP) -> dict[str, Any]:
    return world.services.tokens.verify(token, [audience])


async def test_from_the_question_to_the_token(world: World, ada: Account, browser: dict[str, str]) -> None:
    client = await world.client()
    page = await world.ask(browser, client)
    assert page.status_code == 200
    for shown in ("An app", "app.example", "List, search and download your files", "Search your documents", ada.email):
        assert shown in page.text
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example" in policy
    answer = back(await world.answer(browser, page))
    assert (answer["state"], answer["iss"]) == ("a state", ISSUER)
    response = await world.token(client, answer["code"])
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "files:read search:read")
    said = claims(world, body["access_token"])
    assert (said["sub"], said["client_id"], said["aud"], said["amr"]) == (str(ada.id), client, MCP, ["pwd", "otp"])
    renewed = await world.refresh(client, body["refresh_token"])
    assert claims(world, renewed.json()["access_token"])["sid"] == said["sid"]
    assert {"oauth.client_registered", "oauth.consent_given", "auth.login"} <= set(world.actions())


async def test_only_what_was_ticked_is_given(world: World, browser: dict[str, str]) -> None:
    client = await world.client()
    page = await world.ask(browser, client)
    answer = back(await world.answer(browser, page, scopes=["files:read", "files:write", "admin:users"]))
    body = (await world.token(client, answer["code"])).json()
    assert body["scope"] == "files:read", "what was not asked for is not given either"


@pytest.mark.parametrize(("decision", "scopes"), [("deny", None), ("allow", []), ("", None), ("allow", ["audit:read"])])
async def test_a_refusal_goes_back(
    world: World, browser: dict[str, str], decision: str, scopes: list[str] | None
) -> None:
    page = await world.ask(browser, await world.client())
    answer = back(await world.answer(browser, page, decision, scopes))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "a state", ISSUER)
    assert "code" not in answer


async def test_a_member_cannot_give_what_is_the_owners(world: World) -> None:
    browser = await world.browser(await world.user(f"m{next(_numbers)}@zentoria.test", "member"))
    client = await world.client()
    page = await world.ask(browser, client, scope="files:read settings:write")
    assert "settings:write" not in page.text
    answer = back(await world.answer(browser, page, scopes=["files:read", "settings:write"]))
    assert (await world.token(client, answer["code"])).json()["scope"] == "files:read"
    only = back(await world.ask(browser, client, scope="settings:write"))
    assert only["error"] == "invalid_scope"


async def test_who_is_not_signed_in_is_sent_there_and_back(world: World) -> None:
    client = await world.client()
    response = await world.ask({}, client)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/auth/sign-in?next=%2Foauth%2Fauthorize%3Fresponse_type%3Dcode")
    assert back(await world.ask({}, client, prompt="none"))["error"] == "login_required"


async def test_what_was_allowed_is_remembered_where_nobody_else_can_pick_it_up(
    world: World, browser: dict[str, str]
) -> None:
    client = await world.client()
    await world.code(browser, client)
    assert "code" in back(await world.ask(browser, client, scope="files:read"))
    assert (await world.ask(browser, client, scope="files:write")).status_code == 200
    assert (await world.ask(browser, client, prompt="consent")).status_code == 200
    assert (await world.ask(browser, client, resource=f"{ISSUER}/api")).status_code == 200
    assert (await world.ask(browser, client, redirect_uri="http://127.0.0.1:5000/callback")).status_code == 200
    assert back(await world.ask(browser, client, scope="files:write", prompt="none"))["error"] == "consent_required"
    other = await world.browser(await world.user(f"o{next(_numbers)}@zentoria.test"))
    assert (await world.ask(other, client)).status_code == 200


async def test_a_port_of_ones_own_machine_is_free_and_people_are_told(world: World, browser: dict[str, str]) -> None:
    client = await world.client()
    page = await world.ask(browser, client, redirect_uri="http://127.0.0.1:51234/callback")
    assert "127.0.0.1" in page.text
    assert "on the computer that you are at" in page.text
    response = await world.answer(browser, page)
    assert response.headers["location"].startswith("http://127.0.0.1:51234/callback?code=")
    code = back(response)["code"]
    assert (await world.token(client, code, redirect_uri="http://127.0.0.1:51234/callback")).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK + "/../evil"},
        {"redirect_uri": None},
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": "http://169.254.169.254/latest/meta-data"},
        {"client_id": "https://127.0.0.1/client.json"},
        {"client_id": "https://localhost.localdomain/client.json"},
    ],
)
async def test_without_a_client_and_its_redirect_uri_nobody_is_sent_anywhere(
    world: World, browser: dict[str, str], change: dict[str, str | None]
) -> None:
    client = await world.client()
    response = await world.ask(browser, change.pop("client_id", client), **change)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "text/html" in response.headers["content-type"]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("&scope=files:read&scope=files:write", "invalid_request"),
        ("&resource=a&resource=b", "invalid_target"),
        ("&scope=nothing:known", "invalid_scope"),
        ("&code_challenge_method=plain", "invalid_request"),
        ("&scope=" + "a" * 5000, "invalid_request"),
    ],
)
async def test_other_errors_go_back_with_state_and_issuer(
    world: World, browser: dict[str, str], query: str, error: str
) -> None:
    client = await world.client()
    challenge = "" if "challenge" in query else "&code_challenge_method=S256"
    start = f"/oauth/authorize?response_type=code&client_id={client}&redirect_uri={CALLBACK}&state=s"
    response = await world.http.get(
        f"{start}&code_challenge={oauth_world.CHALLENGE}{challenge}{query}", headers=browser
    )
    answer = back(response)
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s", ISSUER)


@pytest.mark.parametrize(
    "query", ["client_id=a&client_id=b", "client_id=%ff", "client_id=%00", "a=1&" * 61, "client_id=ü"]
)
async def test_a_query_that_is_none(world: World, browser: dict[str, str], query: str) -> None:
    response = await world.http.get(f"/oauth/authorize?{query}", headers=browser)
    assert response.status_code == 400
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1/callback"}, "invalid_grant"),
        ({"resource": f"{ISSUER}/api"}, "invalid_target"),
        ({"code": "made up"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"client_id": "unknown"}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
        ({"client_secret": "guess"}, "invalid_client"),
    ],
)
async def test_a_code_is_for_what_it_was_asked_for(
    world: World, browser: dict[str, str], changes: dict[str, str | None], error: str
) -> None:
    client = await world.client()
    code = await world.code(browser, client)
    response = await world.token(changes.pop("client_id", client), changes.pop("code", code), **changes)
    assert (response.status_code, response.json()["error"]) == (401 if error == "invalid_client" else 400, error)
    assert response.headers["cache-control"] == "no-store"
    assert code not in response.text


async def test_a_code_is_one_clients(world: World, browser: dict[str, str]) -> None:
    client, other = await world.client(), await world.client()
    code = await world.code(browser, client)
    assert (await world.token(other, code)).json()["error"] == "invalid_grant"
    again = await world.token(client, code)
    assert again.json()["error"] == "invalid_grant", "whoever shows it uses it up"


async def test_a_code_lives_for_a_minute(world: World, browser: dict[str, str]) -> None:
    client = await world.client()
    early, late = await world.code(browser, client), await world.code(browser, client, prompt="consent")
    world.clock[0] += CODE_SECONDS - 1
    assert (await world.token(client, early)).status_code == 200
    world.clock[0] += 2
    assert (await world.token(client, late)).json()["error"] == "invalid_grant"


async def test_a_code_shown_twice_revokes_what_came_of_it(world: World, ada: Account, browser: dict[str, str]) -> None:
    client = await world.client()
    code = await world.code(browser, client)
    first = (await world.token(client, code)).json()
    replay = await world.token(client, code)
    assert replay.json()["error"] == "invalid_grant"
    assert (await world.refresh(client, first["refresh_token"])).json()["error"] == "invalid_grant"
    assert ("oauth.code_replay", "critical", ada.id) in world.audit()


async def test_of_two_that_show_a_code_at_once_nobody_keeps_it(world: World, browser: dict[str, str]) -> None:
    client = await world.client()
    code = await world.code(browser, client)
    answers = await asyncio.gather(*(world.token(client, code) for _ in range(4)))
    for answer in answers:
        if answer.status_code == 200:
            token = answer.json()["refresh_token"]
            assert (await world.refresh(client, token)).json()["error"] == "invalid_grant"


async def test_refresh_tokens_are_one_clients_and_keep_to_what_was_given(
    world: World, ada: Account, browser: dict[str, str]
) -> None:
    client, other = await world.client(), await world.client()
    first = (await world.token(client, await world.code(browser, client))).json()["refresh_token"]
    assert (await world.refresh(other, first)).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, first, resource=f"{ISSUER}/api")).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, first, scope="files:write")).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, "ztr_" + "0" * 32 + "_" + "a" * 43)).json()["error"] == "invalid_grant"
    narrowed = (await world.refresh(client, first, scope="files:read", resource=MCP)).json()
    assert narrowed["scope"] == "files:read"
    second = narrowed["refresh_token"]
    assert (await world.refresh(client, first)).json()["refresh_token"] == second, "at once: the same successor"
    third = (await world.refresh(client, second)).json()
    assert third["scope"] == "files:read search:read"
    stolen = await world.refresh(client, first)
    assert stolen.json()["error"] == "invalid_grant"
    assert (await world.refresh(client, third["refresh_token"])).json()["error"] == "invalid_grant"
    assert ("auth.refresh_reuse", "critical", ada.id) in world.audit()


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
async def test_a_token_is_revoked_by_its_client_alone(world: World, browser: dict[str, str], which: str) -> None:
    client, other = await world.client(), await world.client()
    tokens = (await world.token(client, await world.code(browser, client))).json()
    for who, token in ((other, tokens[which]), (client, "nothing"), (client, tokens[which] + "x")):
        response = await world.post("/oauth/revoke", {"client_id": who, "token": token})
        assert response.status_code == 200
    renewed = await world.refresh(client, tokens["refresh_token"])
    assert renewed.status_code == 200
    tokens["refresh_token"] = renewed.json()["refresh_token"]
    assert (await world.post("/oauth/revoke", {"client_id": client, "token": tokens[which]})).status_code == 200
    assert (await world.refresh(client, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.post("/oauth/revoke", {"client_id": client})).json()["error"] == "invalid_request"


async def test_what_was_allowed_is_listed_and_taken_back(world: World, ada: Account, browser: dict[str, str]) -> None:
    client = await world.client(client_name="<b>Bold</b> & co")
    token = (await world.token(client, await world.code(browser, client))).json()["refresh_token"]
    waiting = await world.code(browser, client)
    page = await world.http.get("/auth/applications", headers=browser)
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; co" in page.text
    assert "Search your documents" in page.text
    found = re.search(r'name="grant" value="([^"]+)"', page.text)
    assert found is not None
    stranger = await world.browser(await world.user(f"s{next(_numbers)}@zentoria.test"))
    await world.post("/auth/applications", {"grant": found[1]}, stranger)
    assert client in [grant.client_id for grant in await world.app.state.oauth.server.grants(ada.id)]
    response = await world.post("/auth/applications", {"grant": found[1]}, browser)
    assert response.status_code == 303
    assert "There are none." in (await world.http.get("/auth/applications", headers=browser)).text
    assert (await world.refresh(client, token)).json()["error"] == "invalid_grant"
    assert (await world.token(client, waiting)).json()["error"] == "invalid_grant"
    assert (await world.ask(browser, client)).status_code == 200, "the user is asked again"
    assert "oauth.grant_revoked" in world.actions()
    assert (await world.post("/auth/applications", {"grant": "none"}, browser)).status_code == 400
    assert (await world.http.get("/auth/applications")).status_code == 303


async def test_a_disabled_user_gets_no_tokens(world: World, ada: Account, browser: dict[str, str]) -> None:
    client = await world.client()
    code = await world.code(browser, client)
    with world.postgres.connect(world.database) as connection:
        connection.execute("update users set disabled_at = now() where id = %s", [ada.id])
    assert (await world.token(client, code)).json()["error"] == "invalid_grant"
    assert (await world.ask(browser, client)).headers["location"].startswith("/auth/sign-in")


async def test_a_consent_page_is_answered_once_in_its_own_session(
    world: World, ada: Account, browser: dict[str, str]
) -> None:
    client = await world.client()
    page = await world.ask(browser, client)
    elsewhere = await world.browser(ada)
    assert (await world.answer(elsewhere, page)).status_code == 400
    page = await world.ask(browser, client)
    assert (await world.answer({}, page)).status_code == 401
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        fields = {"ticket": ticket_of(page), "decision": "allow", "scope": "files:read"}
        assert (await world.post("/auth/consent", fields, {**browser, **headers})).status_code == 403
    assert (await world.answer(browser, page)).status_code == 303
    assert (await world.answer(browser, page)).status_code == 400
    assert (await world.post("/auth/consent", {}, browser)).status_code == 400


async def test_the_command_line_is_not_said_to_have_registered(world: World, browser: dict[str, str]) -> None:
    page = await world.ask(browser, COMMAND_LINE.id, redirect_uri="http://127.0.0.1:4321/callback")
    assert page.status_code == 200
    assert "calls itself" in page.text
    assert "Registered itself" not in page.text
    assert "Registered itself" in (await world.ask(browser, await world.client())).text


async def test_a_confidential_client_shows_its_secret(world: World, browser: dict[str, str]) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        body = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": method, "client_name": "Old app"}
        registered = await world.http.post("/oauth/register", json=body)
        assert registered.status_code == 201
        client, secret = registered.json()["client_id"], registered.json()["client_secret"]
        assert registered.json()["client_secret_expires_at"] == 0
        code = await world.code(browser, client)
        assert (await world.token(client, code)).json()["error"] == "invalid_client"
        answer = await world.token(client, code, client_secret=secret)
        assert answer.status_code == 200, "a request without the secret does not use the code up"
        assert "refresh_token" not in answer.json(), "it has not registered that grant"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_client_metadata"),
        (b"[]", "invalid_client_metadata"),
        (b'{"redirect_uris": ["https://a.example/"]', "invalid_client_metadata"),
        (b'{"redirect_uris": ["http://a.example/"]}', "invalid_redirect_uri"),
        (b"{}", "invalid_redirect_uri"),
        (b'{"redirect_uris": ["https://a.example/"], "grant_types": ["password"]}', "invalid_client_metadata"),
        (b'{"redirect_uris": ["https://a.example/"], "token_endpoint_auth_method": "x"}', "invalid_client_metadata"),
        (b"\xff", "invalid_client_metadata"),
        (b"[" * 60_000, "invalid_client_metadata"),
        (b'{"redirect_uris": ["https://a.example/\\u0000"]}', "invalid_redirect_uri"),
        (b'{"redirect_uris": ["https://a.example/"], "client_name": "\\ud800"}', "invalid_client_metadata"),
    ],
)
async def test_a_registration_that_is_refused(world: World, body: bytes, error: str) -> None:
    response = await world.http.post("/oauth/register", content=body)
    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_clients_do_not_register_themselves_unless_the_site_lets_them(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer
) -> None:
    world = make_world(postgres_server, core_database, redis_server)
    response = await world.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
    assert response.status_code == 403
    found = (await world.http.get("/.well-known/oauth-authorization-server")).json()
    assert "registration_endpoint" not in found
    assert found["issuer"] == ISSUER
    await world.close()


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/device_authorization"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("application/x-www-form-urlencoded", b"client_id=a&client_id=b"),
        ("application/x-www-form-urlencoded", b"client_id=%ff"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"client_id=%00"),
        ("application/x-www-form-urlencoded", b"a=1&" * 100),
        ("application/x-www-form-urlencoded", b"client_id=" + b"a" * 70_000),
        ("multipart/form-data; boundary=x", b"--x--"),
    ],
)
async def test_a_body_that_is_no_form(world: World, path: str, kind: str, body: bytes) -> None:
    response = await world.http.post(path, content=body, headers={"content-type": kind})
    assert response.status_code in (400, 413)
    if response.status_code == 400:
        assert response.json()["error"] == "invalid_request"


async def test_pages_of_other_origins_may_call_what_is_for_programs(world: World) -> None:
    for path in ("/oauth/token", "/oauth/register", "/.well-known/oauth-authorization-server"):
        response = await world.http.request("OPTIONS", path, headers={"origin": "https://inspector.example"})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (204, "*")
        assert "access-control-allow-credentials" not in response.headers
    for path in ("/oauth/authorize", "/auth/consent"):
        response = await world.http.request("OPTIONS", path, headers={"origin": "https://inspector.example"})
        assert "access-control-allow-origin" not in response.headers


async def device(world: World, **changes: str) -> dict[str, Any]:
    response = await world.post("/oauth/device_authorization", {"client_id": COMMAND_LINE.id, **changes})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def poll(world: World, code: str, client: str = COMMAND_LINE.id) -> dict[str, Any]:
    form = {"grant_type": DEVICE_GRANT, "client_id": client, "device_code": code}
    found: dict[str, Any] = (await world.post("/oauth/token", form)).json()
    return found


async def test_a_command_line_is_allowed_by_its_code(world: World, ada: Account, browser: dict[str, str]) -> None:
    codes = await device(world, scope="files:read files:write")
    assert codes["verification_uri"] == f"{ISSUER}/auth/device"
    assert (await poll(world, codes["device_code"]))["error"] == "authorization_pending"
    assert (await poll(world, codes["device_code"]))["error"] == "slow_down"
    world.clock[0] += 6
    assert (await poll(world, codes["device_code"]))["error"] == "slow_down", "ten seconds by now"
    typed = codes["user_code"].lower().replace("-", " ")
    page = await world.http.get("/auth/device", params={"user_code": typed}, headers=browser)
    assert codes["user_code"] in page.text
    assert "If somebody sent you this code, refuse." in page.text
    fields = [("user_code", codes["user_code"]), ("decision", "allow"), ("scope", "files:read")]
    assert (await world.post("/auth/device", fields, browser)).status_code == 200
    world.clock[0] += 60
    body = await poll(world, codes["device_code"])
    assert body["scope"] == "files:read"
    assert claims(world, body["access_token"])["sub"] == str(ada.id)
    assert (await poll(world, codes["device_code"]))["error"] == "expired_token"
    assert (await world.post("/auth/device", fields, browser)).status_code == 410


async def test_a_device_that_is_refused(world: World, browser: dict[str, str]) -> None:
    codes = await device(world)
    fields = {"user_code": codes["user_code"], "decision": "deny"}
    assert "Refused" in (await world.post("/auth/device", fields, browser)).text
    assert (await poll(world, codes["device_code"]))["error"] == "access_denied"


async def test_a_device_code_is_one_clients(world: World, browser: dict[str, str]) -> None:
    other = await world.client(grant_types=("authorization_code", DEVICE_GRANT))
    codes = await device(world)
    await world.post(
        "/auth/device", {"user_code": codes["user_code"], "decision": "allow", "scope": "files:read"}, browser
    )
    assert (await poll(world, codes["device_code"], other))["error"] == "invalid_grant"
    assert (await poll(world, "made up"))["error"] == "expired_token"
    plain = await world.client()
    refused = await world.post("/oauth/device_authorization", {"client_id": plain})
    assert refused.json()["error"] == "unauthorized_client"


async def test_a_device_page_for_nobody_and_for_nothing(world: World, browser: dict[str, str]) -> None:
    assert (await world.http.get("/auth/device?user_code=AAAA")).status_code == 303
    assert (await world.http.get("/auth/device", headers=browser)).status_code == 200
    for code in ("AAAA-AAAA", "<script>", "\x00", "x" * 500):
        page = await world.http.get("/auth/device", params={"user_code": code}, headers=browser)
        assert page.status_code == 404
        assert "<script>" not in page.text
    codes = await device(world)
    cross = {**browser, "origin": "https://evil.example"}
    fields = {"user_code": codes["user_code"], "decision": "allow", "scope": "files:read"}
    assert (await world.post("/auth/device", fields, cross)).status_code == 403


async def test_codes_of_devices_cannot_be_tried_without_end(world: World, browser: dict[str, str]) -> None:
    codes = await device(world)
    wrong = {"user_code": "BBBB-BBBB", "decision": "allow", "scope": "files:read"}
    seen = [(await world.post("/auth/device", wrong, browser)).status_code for _ in range(throttle.ADDRESS.free + 5)]
    assert seen[0] == 410
    assert 429 in seen
    # the first delay is a second, which passes by itself on a slow machine: here it does not
    for key in [key async for key in world.services.redis.scan_iter("auth:tries:address:*")]:
        await world.services.redis.hset(key, "until", 9_000_000_000_000)
    assert (await world.http.get("/auth/device?user_code=BBBB-BBBB", headers=browser)).status_code == 429
    right = {"user_code": codes["user_code"], "decision": "allow", "scope": "files:read"}
    assert (await world.post("/auth/device", right, browser)).status_code == 429, "nor is a right one looked at then"
    registered = await world.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
    assert (registered.status_code, registered.json()["error"]) == (429, "temporarily_unavailable")
    await world.services.redis.delete(*[key async for key in world.services.redis.scan_iter("auth:tries:*")])


async def test_redis_away_is_said_and_nothing_is_given(
    world: World, browser: dict[str, str], redis_server: RedisServer
) -> None:
    client = await world.client()
    redis_server.stop()
    try:
        for response in (await world.ask(browser, client), await world.token(client, "code")):
            assert response.status_code == 503
            assert "retry-after" in response.headers
    finally:
        redis_server.start()


async def test_no_code_lies_in_redis(world: World, browser: dict[str, str]) -> None:
    client = await world.client()
    code = await world.code(browser, client)
    keys = [key async for key in world.services.redis.scan_iter("auth:oauth:*")]
    assert keys
    for key in keys:
        assert code not in key
        if await world.services.redis.type(key) == "hash":
            assert code not in str(await world.services.redis.hgetall(key))
    assert VERIFIER not in str(keys)
    assert PEER.ip is not None


async def test_what_is_taken_back_while_a_code_is_exchanged_gives_nothing(
    world: World, ada: Account, browser: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server, sessions = await world.client(), world.app.state.oauth.server, world.services.sessions
    code = await world.code(browser, client)
    (grant,) = await server.grants(ada.id)
    begin = sessions.begin

    async def slow(*args: Any) -> Any:
        assert await server.revoke_grant(ada.id, grant.id, PEER)
        return await begin(*args)

    monkeypatch.setattr(sessions, "begin", slow)
    answer = await world.token(client, code)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert [one for one in await sessions.listed(ada.id) if one.kind == "client"] == []


async def test_devices_that_begin_to_wait_are_counted_by_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin() -> int:
        return (await world.post("/oauth/device_authorization", {"client_id": COMMAND_LINE.id})).status_code

    counted = throttle.Throttle(world.services.redis, "auth:counted:")
    monkeypatch.setattr(throttle, "QUESTIONS", 3)
    monkeypatch.setattr(world.services.throttle, "_prefix", "auth:counted:")
    assert [await begin() for _ in range(5)] == [200, 200, 200, 429, 429]
    assert await counted.question("192.0.2.77") == 0, "another address goes on"
