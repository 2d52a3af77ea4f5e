"""One's own account and factors for the gateway, links that work once, and the program that makes accounts."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from auth_servers import HOME, PASSWORD, Site
from real_servers import RedisServer
from zentoria_auth.accounts.commands import USERS
from zentoria_auth.peer import Peer
from zentoria_auth.setup.service import LinkOver, OwnerExists
from zentoria_common.problems import Problem

NEW = "a quite different phrase"


async def token(site: Site) -> str:
    return (await site.services.setup.first_run(Peer(), "service:test")).url.partition("token=")[2]


@pytest.mark.asyncio
async def test_the_first_link_makes_one_owner_however_many_use_it(site: Site) -> None:
    link = await token(site)
    assert (await site.post("/setup/look", {"token": link})).json()["purpose"] == "first_run"
    body = {"token": link, "password": PASSWORD, "name": "Anna", "client": HOME}
    answers = await asyncio.gather(*(site.post("/setup", body | {"email": f"a{n}@example.org"}) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 410, 410, 410, 410]
    assert site.rows("select count(*), min(role) from users") == [(1, "owner")]
    with pytest.raises(OwnerExists):
        await token(site)
    assert (await site.post("/setup/look", {"token": link})).status_code == 410
    assert {"auth.setup_link_made", "user.created", "auth.setup_link_used"} <= set(site.audited())


@pytest.mark.asyncio
async def test_two_links_make_one_owner_and_the_older_one_is_void(site: Site) -> None:
    first, second = await token(site), await token(site)
    assert (await site.post("/setup/look", {"token": first})).status_code == 410
    assert (await site.post("/setup/look", {"token": second})).status_code == 200


@pytest.mark.asyncio
async def test_a_link_is_over_after_an_hour_and_lies_in_the_database_as_a_hash(site: Site) -> None:
    link = await token(site)
    assert link not in str(site.rows("select setup_links::text, token_hash from setup_links"))
    site.ahead += 3599
    assert (await site.post("/setup/look", {"token": link})).status_code == 200
    site.ahead += 2
    for path, more in (("/setup/look", {}), ("/setup", {"email": "a@b.co", "password": PASSWORD})):
        assert (await site.post(path, {"token": link, **more})).status_code == 410


@pytest.mark.asyncio
@pytest.mark.parametrize("given", ["", "x", "A" * 43, "é" * 43, "' or true --"])
async def test_a_token_that_never_was_one(site: Site, given: str) -> None:
    await token(site)
    assert (await site.post("/setup/look", {"token": given})).status_code == 410


@pytest.mark.asyncio
async def test_what_is_not_taken_leaves_the_link_as_it_is(site: Site) -> None:
    link = await token(site)
    for email, password in (("nobody", PASSWORD), ("a@b.co", "short"), ("a@b.co", "password1234")):
        answer = await site.post("/setup", {"token": link, "email": email, "password": password})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/not-taken")
        assert password not in answer.text
    assert (await site.post("/setup", {"token": link, "email": "a@b.co", "password": PASSWORD})).status_code == 201


@pytest.mark.asyncio
async def test_a_reset_ends_password_sessions_and_factors_and_its_link_sets_a_new_one(site: Site) -> None:
    anna = await site.owner()
    tokens = await site.signed_in()
    await site.totp(anna.id)
    setup, accounts = site.services.setup, site.services.accounts
    candidate = await accounts.reset("anna@example.org", Peer(), "service:test", second_factors=True)
    assert (await site.login()).status_code == 401
    assert (await site.post("/refresh", {"refresh_token": tokens["refresh_token"]})).status_code == 401
    link = await setup.for_account("reset", candidate.id, Peer(), "service:test")
    given = link.url.partition("token=")[2]
    assert (await setup.look(given)).email == "anna@example.org"
    done = await setup.complete(given, "eve@evil.test", "", NEW, Peer())
    assert (done.account.id, done.account.email, done.complete) == (anna.id, "anna@example.org", True)
    assert (await site.login(password=NEW)).status_code == 200
    with pytest.raises(LinkOver):
        await setup.complete(given, "", "", NEW, Peer())


@pytest.mark.asyncio
async def test_the_last_owner_is_not_disabled(site: Site) -> None:
    await site.owner()
    accounts, peer = site.services.accounts, Peer()
    with pytest.raises(Problem, match="last owner"):
        await accounts.disable("anna@example.org", peer, "service:test")
    await accounts.create("berta@example.org", "Berta", "owner", peer, "service:test")
    await accounts.disable("anna@example.org", peer, "service:test")
    assert (await site.login()).status_code == 401
    await accounts.enable("anna@example.org", peer, "service:test")
    assert (await site.login()).status_code == 200


@pytest.mark.asyncio
async def test_ways_to_sign_in_are_changed_by_who_just_showed_who_they_are(site: Site) -> None:
    anna = await site.owner()
    tokens = await site.signed_in()
    caller: dict[str, Any] = {"user_id": anna.id, "sid": tokens["sid"]}
    assert (await site.post("/me/totp", {}, **caller)).status_code == 200
    site.ahead += 16 * 60
    for path, body in (
        ("/me/totp", {}),
        ("/me/totp", {"current_password": "wrong"}),
        ("/me/password", {"new_password": NEW}),
        ("/me/recovery-codes", {}),
        ("/me/passkeys/options", {}),
    ):
        answer = await site.post(path, body, **caller)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/reauthentication-required")
    assert (await site.post("/me/totp", {}, user_id=anna.id)).status_code == 403  # an API key has no session
    assert (await site.post("/me/totp", {"current_password": PASSWORD}, **caller)).status_code == 200


@pytest.mark.asyncio
async def test_a_new_password_ends_all_other_sessions(site: Site) -> None:
    anna = await site.owner()
    here, elsewhere = await site.signed_in(), await site.signed_in()
    caller = {"user_id": anna.id, "sid": here["sid"]}
    weak = await site.post("/me/password", {"new_password": "anna@example.org"}, **caller)
    assert weak.status_code == 422
    assert (await site.post("/me/password", {"new_password": NEW}, **caller)).status_code == 204
    assert (await site.post("/refresh", {"refresh_token": here["refresh_token"]})).status_code == 200
    assert (await site.post("/refresh", {"refresh_token": elsewhere["refresh_token"]})).status_code == 401
    assert (await site.login()).status_code == 401
    assert (await site.login(password=NEW)).status_code == 200


@pytest.mark.asyncio
async def test_what_a_call_may_not_do_it_does_not(site: Site) -> None:
    anna = await site.owner()
    for method, path, scopes in (
        ("GET", "/me", "files:read"),
        ("PATCH", "/me", "profile:read"),
        ("POST", "/me/totp", "profile:read"),
        ("GET", "/sessions", "sessions:write"),
        ("DELETE", "/sessions/00000000-0000-0000-0000-000000000000", "sessions:read"),
    ):
        for headers, status in ((site.headers(anna.id, scopes=scopes), 403), (site.headers(), 401)):
            answer = await site.client.request(method, f"/internal/v1{path}", json={"name": "x"}, headers=headers)
            assert answer.status_code == status, (path, answer.text)


@pytest.mark.asyncio
async def test_a_name_is_one_clean_line(site: Site) -> None:
    anna = await site.owner()
    headers = site.headers(anna.id)
    for given, kept in ((" Anna\u202e\n  Example ", "Anna Example"), ("", ""), ("\x00Zoë", "Zoë")):
        answer = await site.client.patch("/internal/v1/me", json={"name": given}, headers=headers)
        assert answer.json()["name"] == kept
    assert (await site.client.patch("/internal/v1/me", json={"name": "x" * 101}, headers=headers)).status_code == 422


@pytest.mark.asyncio
async def test_an_app_is_removed_with_the_codes_that_stood_in_for_it(site: Site) -> None:
    anna = await site.owner()
    _, codes = await site.totp(anna.id)
    proof = {"current_password": PASSWORD}
    assert (await site.post("/me/totp", proof, user_id=anna.id)).status_code == 409
    renewed = (await site.post("/me/recovery-codes", proof, user_id=anna.id)).json()["recovery_codes"]
    assert not set(renewed) & set(codes)
    assert (await site.login(otp=codes[0])).status_code == 401
    assert (await site.login(otp=renewed[0])).status_code == 200
    assert (await site.post("/me/totp/remove", proof, user_id=anna.id)).status_code == 204
    assert (await site.post("/me/totp/remove", proof, user_id=anna.id)).status_code == 404
    assert site.rows("select count(*) from recovery_codes") == [(0,)]
    assert (await site.login()).status_code == 200
    assert {"auth.totp_added", "auth.totp_removed", "auth.recovery_codes_made"} <= set(site.audited())


def program(site: Site, folder: Path, redis: RedisServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in its guest."""
    for name in ("database_password", "redis_password", "jwt_key", "seal_key"):
        path = folder / name
        path.write_text(getattr(site.secrets, name).get_secret_value())
        path.chmod(0o600)
    environment = redis.environment("auth") | {
        "ZENTORIA_DATABASE_HOST": site.server.host,
        "ZENTORIA_DATABASE_PORT": str(site.server.port),
        "ZENTORIA_DATABASE_NAME": site.database,
        "ZENTORIA_DATABASE_USER": "auth",
        "ZENTORIA_PUBLIC_URL": "https://zentoria.test",
        "CREDENTIALS_DIRECTORY": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-c", f"from zentoria_auth.main import run; run({list(arguments)!r})"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.asyncio
async def test_the_program_makes_the_link_for_the_first_account(
    site: Site, tmp_path: Path, redis_server: RedisServer
) -> None:
    done = await asyncio.to_thread(program, site, tmp_path, redis_server, "users", "setup-link", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    link = json.loads(done.stdout)
    assert set(link) == {"url", "purpose", "expires_at"}
    given = link["url"].removeprefix("https://zentoria.test/auth/setup?token=")
    assert (await site.services.setup.look(given)).purpose == "first_run"


@pytest.mark.asyncio
async def test_the_program_makes_lists_disables_and_resets(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    USERS.configure(parser)

    async def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert await USERS.run(site.services.settings, site.secrets, parser.parse_args(arguments)) == code
        out, err = capsys.readouterr()
        return json.loads(out[out.index("{") :]) if code == 0 else err

    await site.owner()
    assert "owner is there" in await run("setup-link", "--json", code=3)
    made = await run("create", "Berta@example.org", "--name", "Berta", "--json")
    assert (made["user"]["email"], made["user"]["role"], made["purpose"]) == ("berta@example.org", "member", "invite")
    assert "already" in await run("create", "berta@example.org", "--json", code=1)
    assert "not an e-mail address" in await run("create", "berta", "--json", code=1)
    assert [one["email"] for one in (await run("list", "--json"))["items"]] == ["anna@example.org", "berta@example.org"]
    assert "last owner" in await run("disable", "anna@example.org", code=1)
    assert (await run("disable", "berta@example.org", "--json"))["disabled"]
    assert not (await run("enable", "berta@example.org", "--json"))["disabled"]
    assert "no such account" in await run("reset", "carla@example.org", code=1)
    assert (await run("reset", "anna@example.org", "--second-factors", "--json"))["purpose"] == "reset"
    assert (await site.login()).status_code == 401
