"""Sign-in for the gateway: passwords, second factors, delays, refresh, the end; against real servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from auth_servers import HOME, PASSWORD, STRANGER, Site
from zentoria_auth.signin.throttle import ACCOUNT

pytestmark = pytest.mark.asyncio


def kind(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def test_a_password_begins_a_session_with_all_scopes_of_its_role(site: Site) -> None:
    anna = await site.owner()
    answer = await site.login("  Anna@EXAMPLE.org ")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["user"] == {"id": anna.id, "email": "anna@example.org", "name": "Anna", "role": "owner"}
    assert (body["token_type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 900, 604_800)
    claims = site.services.tokens.verify(body["access_token"])
    assert (claims["sub"], claims["amr"], claims["client_id"]) == (str(anna.id), ["pwd"], "zentoria-web")
    assert {"admin:users", "files:read"} <= set(claims["scope"].split())
    (row,) = site.rows("select sessions.id::text, host(ip_address), user_agent, last_login_at is not null from sessions"
                       " join users on users.id = user_id")  # fmt: skip
    assert row == (claims["sid"], "192.0.2.10", "Firefox", True)
    assert site.audited()[-1] == "auth.login"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("anna@example.org", "wrong"),
        ("nobody@example.org", PASSWORD),
        ("not an address", PASSWORD),
        ("anna@example.org", "x" * 300),
        ("anna@example.org", ""),
        ("' or 1=1 --", PASSWORD),
        ("anna@example.org\x00", PASSWORD),
    ],
)
async def test_whatever_is_wrong_the_answer_is_the_same_and_one_row_tells_it(
    site: Site, email: str, password: str
) -> None:
    await site.owner()
    answer = await site.login(email, password)
    assert kind(answer) == (401, "/problems/bad-credentials")
    assert set(answer.json()) == {"type", "title", "status", "detail", "request_id"}
    assert site.audited()[-1] == "auth.login_failed"
    (details,) = site.rows("select details::text from audit_log order by id desc limit 1")[0]
    assert email.strip("\x00") not in details
    assert PASSWORD not in details


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a@b.co"},
        {"email": "a@b.co", "password": "x", "challenge": "y", "otp": "1"},
        {"challenge": "y"},
        {"email": ["a"], "password": {"a": 1}},
        {"email": "a@b.co", "password": "x" * 2000},
        {"email": "a" * 2000, "password": "x"},
        {"passkey": {"id": "x"}},
        {"email": "a@b.co", "password": "x", "more": 1},
    ],
)
async def test_what_is_no_sign_in_is_422_and_is_not_repeated(site: Site, body: dict[str, Any]) -> None:
    answer = await site.post("/login", body)
    assert answer.status_code == 422
    assert "x" * 2000 not in answer.text


async def test_a_body_over_the_limit_and_one_too_deep_are_refused(site: Site) -> None:
    headers = site.headers() | {"content-type": "application/json"}
    for body, statuses in ((b"x" * 70_000, {413}), (b"[" * 60_000, {400, 422}), (b'{"email": "\xff"}', {400, 422})):
        answer = await site.client.post("/internal/v1/login", content=body, headers=headers)
        assert answer.status_code in statuses


async def test_strangers_wait_the_owner_does_not_and_a_reset_takes_delays_away(site: Site) -> None:
    await site.owner()
    assert (await site.login()).status_code == 200
    for _ in range(ACCOUNT.free):
        assert kind(await site.login(password="wrong", client=STRANGER)) == (401, "/problems/bad-credentials")
    refused = await site.login(client=STRANGER)
    assert kind(refused) == (429, "/problems/too-many-attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= ACCOUNT.first
    assert (await site.login()).status_code == 200
    assert site.audited().count("auth.delay_began") == 1
    for _ in range(ACCOUNT.free):  # the same for an address that nobody has
        assert (await site.login("nobody@example.org", "wrong", client={"ip": "203.0.113.1"})).status_code == 401
    assert (await site.login("nobody@example.org", "wrong", client={"ip": "203.0.113.1"})).status_code == 429


async def test_a_hundred_guesses_at_once_are_few_looked_at(site: Site) -> None:
    await site.owner()
    answers = await asyncio.gather(*(site.login(password=f"guess {n}", client=STRANGER) for n in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) == ACCOUNT.free
    assert statuses.count(429) == 100 - ACCOUNT.free


async def test_a_one_time_code_is_asked_for_and_good_once(site: Site) -> None:
    anna = await site.owner()
    app, codes = await site.totp(anna.id)
    first = await site.login()
    assert kind(first) == (401, "/problems/otp-required")
    assert first.json()["factors"] == ["totp", "recovery"]
    code = site.code(app)
    second = await site.post("/login", {"challenge": first.json()["challenge"], "otp": code, "client": HOME})
    assert second.status_code == 200
    assert site.services.tokens.verify(second.json()["access_token"])["amr"] == ["pwd", "otp", "mfa"]
    again = await site.login(otp=code)
    assert kind(again) == (401, "/problems/otp-required")
    used = await site.post("/login", {"challenge": first.json()["challenge"], "otp": codes[0], "client": HOME})
    assert kind(used) == (401, "/problems/bad-credentials")
    site.ahead += 30
    assert (await site.login(otp=site.code(app))).status_code == 200


async def test_one_code_at_fifty_places_at_once_opens_one(site: Site) -> None:
    anna = await site.owner()
    app, _ = await site.totp(anna.id)
    assert (await site.login(otp=site.code(app))).status_code == 200  # this address is known from now on
    site.ahead += 30
    code = site.code(app)
    answers = await asyncio.gather(*(site.login(otp=code) for _ in range(15)))
    assert [answer.status_code for answer in answers].count(200) == 1


async def test_a_recovery_code_is_good_once_and_leaves_a_row(site: Site) -> None:
    anna = await site.owner()
    _, codes = await site.totp(anna.id)
    assert len(codes) == 10
    assert (await site.login(otp=codes[3].upper())).status_code == 200
    assert (await site.login(otp=codes[3])).status_code == 401
    assert site.audited().count("auth.recovery_code_used") == 1
    me = await site.get("/me", user_id=anna.id)
    assert me.json()["recovery_codes_left"] == 9
    kept = site.rows("select code_hash from recovery_codes")
    assert not {code for (code,) in kept} & set(codes)


async def test_guessing_codes_is_slowed_down_though_the_password_is_right(site: Site) -> None:
    anna = await site.owner()
    await site.totp(anna.id)
    statuses = []
    for _ in range(10):  # right passwords between the guesses wash nothing away
        statuses.append((await site.login(otp="000000", client=STRANGER)).status_code)
        await site.login(client=STRANGER)
    assert statuses.count(401) <= ACCOUNT.free
    assert statuses[-1] == 429


async def test_the_secret_of_an_app_is_sealed_in_the_database(site: Site) -> None:
    anna = await site.owner()
    app, _ = await site.totp(anna.id)
    ((kept,),) = site.rows("select secret from totp_factors")
    assert app.secret.encode() not in kept


async def test_two_tabs_refresh_at_once_and_both_go_on(site: Site) -> None:
    await site.owner()
    tokens = await site.signed_in()
    body = {"refresh_token": tokens["refresh_token"], "client": HOME}
    answers = await asyncio.gather(*(site.post("/refresh", body) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert (await site.post("/refresh", {"refresh_token": successor})).status_code == 200
    assert "auth.refresh_reuse" not in site.audited()


async def test_a_stolen_refresh_token_used_later_ends_the_session_and_one_row_says_so(site: Site) -> None:
    await site.owner()
    tokens = await site.signed_in()
    other = await site.signed_in()
    stolen = tokens["refresh_token"]
    turned = await site.post("/refresh", {"refresh_token": stolen})
    current = turned.json()["refresh_token"]
    await site.services.redis.delete(f"auth:salt:{tokens['sid'].replace('-', '')}")  # ten seconds go by
    answers = await asyncio.gather(*(site.post("/refresh", {"refresh_token": stolen}) for _ in range(10)))
    assert {kind(answer) for answer in answers} == {(401, "/problems/session-over")}
    assert (await site.post("/refresh", {"refresh_token": current})).status_code == 401
    assert site.audited().count("auth.refresh_reuse") == 1
    rows = site.rows("select end_reason from sessions where id = %s", tokens["sid"])
    assert rows == [("refresh_reuse",)]
    assert (await site.post("/refresh", {"refresh_token": other["refresh_token"]})).status_code == 200


@pytest.mark.parametrize("how", ["logout by token", "logout by sid", "end", "disable", "reset", "seven days"])
async def test_an_ended_session_is_not_refreshed(site: Site, how: str) -> None:
    anna = await site.owner()
    tokens = await site.signed_in()
    if how == "logout by token":
        assert (await site.post("/logout", {"refresh_token": tokens["refresh_token"]})).status_code == 204
        assert site.audited()[-1] == "auth.logout"
    elif how == "logout by sid":
        assert (await site.post("/logout", {"sid": tokens["sid"]}, user_id=anna.id)).status_code == 204
    elif how == "end":
        assert (await site.delete(f"/sessions/{tokens['sid']}", user_id=anna.id)).status_code == 204
    elif how == "disable":
        site.rows("update users set disabled_at = now() returning id")
    elif how == "reset":
        from zentoria_auth.peer import Peer

        await site.services.accounts.reset("anna@example.org", Peer(), "service:test", second_factors=False)
    else:
        site.ahead += 604_801
    assert kind(await site.post("/refresh", {"refresh_token": tokens["refresh_token"]})) == (
        401,
        "/problems/session-over",
    )


async def test_nobody_ends_anothers_session(site: Site) -> None:
    anna = await site.owner()
    tokens = await site.signed_in()
    family = tokens["refresh_token"].split("_")[1]
    assert (await site.post("/logout", {"refresh_token": f"ztr_{family}_{'A' * 43}"})).status_code == 204
    assert (await site.delete(f"/sessions/{tokens['sid']}", user_id=anna.id + 1)).status_code == 404
    assert (await site.post("/logout", {"sid": tokens["sid"]})).status_code == 401
    assert (await site.post("/logout", {"sid": tokens["sid"]}, user_id=anna.id + 1)).status_code == 204
    assert (await site.post("/refresh", {"refresh_token": tokens["refresh_token"]})).status_code == 200


async def test_sessions_are_listed_and_ended_one_by_one(site: Site) -> None:
    anna = await site.owner()
    first, second = await site.signed_in(), await site.signed_in()
    listed = (await site.get("/sessions", user_id=anna.id, sid=second["sid"])).json()
    assert [(one["id"], one["kind"], one["current"]) for one in listed["items"]] == [
        (second["sid"], "web", True),
        (first["sid"], "web", False),
    ]
    assert (await site.delete(f"/sessions/{first['sid']}", user_id=anna.id)).status_code == 204
    assert (await site.delete(f"/sessions/{first['sid']}", user_id=anna.id)).status_code == 404
    left = (await site.get("/sessions", user_id=anna.id)).json()["items"]
    assert [one["id"] for one in left] == [second["sid"]]


async def test_a_password_of_weaker_days_is_hashed_anew_at_a_sign_in(site: Site) -> None:
    import argon2

    await site.owner()
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    site.rows("update users set password_hash = %s returning id", weak)
    assert (await site.login()).status_code == 200
    assert site.rows("select left(password_hash, 30) from users") == [("$argon2id$v=19$m=19456,t=2,p=1",)]
    assert (await site.login()).status_code == 200


async def test_without_redis_nobody_signs_in_and_all_is_well_when_it_is_back(site: Site, redis_server: Any) -> None:
    await site.owner()
    tokens = await site.signed_in()
    redis_server.stop()
    try:
        for answer in (
            await site.login(),
            await site.login(password="wrong"),
            await site.post("/refresh", {"refresh_token": tokens["refresh_token"]}),
            await site.post("/passkeys/options"),
        ):
            assert kind(answer) == (503, "/problems/unavailable")
            assert int(answer.headers["retry-after"]) >= 1
    finally:
        redis_server.start()
    assert (await site.login()).status_code == 200
    assert (await site.post("/refresh", {"refresh_token": tokens["refresh_token"]})).status_code == 200


async def test_all_spellings_of_a_directorys_name_are_counted_as_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Directory:
        async def user_for(self, name: str, password: str, peer: Any) -> int | None:
            asked.append(name)
            return None

    monkeypatch.setattr(site.services.sign_in, "_sources", (Directory(),))
    spellings = ["ada b", " ADA  b ", "\uff41\uff24\uff21 b", "a\u00adda\u200b b", "\U0001d41a\U0001d41d\U0001d41a b"]
    assert len(spellings) == ACCOUNT.free
    answers = [await site.login(name, "guess") for name in spellings]
    assert [answer.status_code for answer in answers] == [401] * len(spellings)
    assert asked == ["ada b"] * len(spellings)
    assert (await site.login("\uff41da b", "guess")).status_code == 429
    assert len(asked) == len(spellings), "it was not asked any more"
