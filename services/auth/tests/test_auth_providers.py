"""Sign-in by providers: a real OpenID Connect server, something that speaks like GitHub, and who lies."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import oauth_world
import pytest
import pytest_asyncio
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from oauth_world import ISSUER, PEER, World, make_world
from pydantic import SecretStr, ValidationError
from real_servers import RedisServer
from zentoria_auth.pages import web
from zentoria_auth.providers import api, browsers
from zentoria_auth.providers.attempts import LIFETIME, Attempts
from zentoria_auth.providers.claims import Claim, decide
from zentoria_auth.providers.github import GitHub
from zentoria_auth.providers.oidc import OpenIdProvider
from zentoria_auth.providers.service import Accounts, Arrived, Providers
from zentoria_auth.providers.settings import Provider, read_providers, read_secret
from zentoria_auth.sessions.service import Account
from zentoria_common.outbound import Allowed, Outbound
from zentoria_common.settings import SettingsError
from zentoria_schema.embedded import PostgresServer

from tests.support.node_tools import NODE, node_modules

_numbers = itertools.count(1)
COOKIE = api.COOKIE
SESSION_COOKIE = web.SESSION_COOKIE
SECRET = "canary client secret"


@dataclasses.dataclass
class IdentityProvider:
    """The provider, and what a test can tell it to do."""

    issuer: str
    control: str

    def plan(self, **changes: Any) -> None:
        httpx2.post(self.control, json=changes, trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    script = Path(__file__).parent / "identity_provider.mjs"
    process = subprocess.Popen(
        [NODE, script, str(node_modules())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield IdentityProvider(**json.loads(process.stdout.readline()))
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


class GitHubLike(ThreadingHTTPServer):
    """Answers as GitHub's documentation says; ``answers`` are the bodies by path, ``asked`` what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _GitHubHandler)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str], str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _GitHubHandler(BaseHTTPRequestHandler):
    server: GitHubLike

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        path = urlsplit(self.path).path
        self.server.asked.append((path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, found = self.server.answers.get(path, (404, {"message": "Not Found"}))
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubLike]:
    with GitHubLike() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclasses.dataclass
class Site:
    """A site with both providers, and browsers."""

    world: World
    idp: IdentityProvider
    github: GitHubLike

    async def start(self, name: str = "idp", browser: Mapping[str, str] | None = None, query: str = "") -> Visit:
        headers = dict(browser or {})
        response = await self.world.http.get(f"/auth/providers/{name}/start{query}", headers=headers)
        assert response.status_code == 303, response.text
        self.world.http.cookies.clear()  # browsers are told apart by their headers
        cookie = response.headers["set-cookie"].partition(";")[0]
        headers["cookie"] = "; ".join(filter(None, (headers.get("cookie"), cookie)))
        return Visit(self, name, response.headers["location"], headers)

    async def sign_in(
        self, name: str = "idp", browser: Mapping[str, str] | None = None, query: str = ""
    ) -> httpx2.Response:
        visit = await self.start(name, browser, query)
        return await visit.come_back(await visit.at_provider())


@dataclasses.dataclass
class Visit:
    """A browser on its way to a provider and back."""

    site: Site
    name: str
    url: str
    headers: dict[str, str]

    @property
    def asked(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    async def at_provider(self) -> dict[str, str]:
        """What the provider sends the browser back with."""
        if self.name == "github":
            return {"code": "a code", "state": self.asked["state"]}
        async with httpx2.AsyncClient(trust_env=False) as http:
            location = (await http.get(self.url)).headers["location"]
        assert location.startswith(f"{ISSUER}/auth/providers/{self.name}/callback?")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def come_back(self, answer: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        return await self.site.world.http.get(
            f"/auth/providers/{self.name}/callback?{urlencode(answer)}",
            headers=self.headers if headers is None else dict(headers),
        )


async def _sign_in(request: Request, arrived: Arrived) -> Response:
    return RedirectResponse(arrived.next, 303, headers={"x-user": str(arrived.user_id), "x-amr": " ".join(arrived.amr)})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres_server: PostgresServer,
    core_database: str,
    redis_server: RedisServer,
    idp: IdentityProvider,
    github: GitHubLike,
) -> AsyncGenerator[Site]:
    world = make_world(postgres_server, core_database, redis_server)
    world.clock[0] = time.time()
    outbound = Outbound(Allowed.parse(["127.0.0.0/8", "localhost"]), timeout=30)
    common = {"client_id": "zentoria", "client_secret_file": "/none"}
    clients = [
        OpenIdProvider(
            Provider(name=name, kind="oidc", label=name, issuer=idp.issuer, trust_email=trusted, **common),
            SecretStr(SECRET),
            outbound,
            world.services.clock,
        )
        for name, trusted in (("idp", False), ("trusted", True))
    ]
    hub = GitHub(
        Provider(name="github", kind="github", label="GitHub", **common),
        SecretStr(SECRET),
        outbound,
        base=github.url,
        api=f"{github.url}/api",
    )
    attempts = Attempts(world.services.redis, "auth:provider")
    providers = Providers([*clients, hub], Accounts(world.services.database), attempts, ISSUER)
    world.app.state.federation = dataclasses.replace(
        browsers.FEDERATION, providers=lambda _request: providers, sign_in=_sign_in
    )
    yield Site(world, idp, github)
    await outbound.close()
    await world.close()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(site: Site) -> Account:
    return await site.world.user(f"ada{next(_numbers)}@zentoria.test")


module_loop = pytest.mark.asyncio(loop_scope="module")


def signed_in_as(response: httpx2.Response) -> int | None:
    user = response.headers.get("x-user")
    return int(user) if user else None


@module_loop
async def test_sign_in_over_a_verified_address_and_then_by_the_subject(site: Site, ada: Account) -> None:
    subject = f"subject-{ada.id}"
    site.idp.plan(id_token={"sub": subject, "email": ada.email.upper(), "email_verified": True, "amr": ["hwk"]})
    visit = await site.start(query="?next=%2Foauth%2Fauthorize%3Fa%3Db")
    assert visit.asked["redirect_uri"] == f"{ISSUER}/auth/providers/idp/callback"
    assert visit.asked["code_challenge_method"] == "S256"
    assert set(visit.asked["scope"].split()) >= {"openid", "email"}
    answer = await visit.at_provider()
    response = await visit.come_back(answer)
    assert signed_in_as(response) == ada.id
    assert response.headers["location"] == "/oauth/authorize?a=b"
    assert response.headers["x-amr"] == "fed hwk"
    assert COOKIE in response.headers["set-cookie"]
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert "auth.identity_linked" in site.world.actions()
    # the same person, whose address there is another one by now
    site.idp.plan(id_token={"sub": subject, "email": "other@example.org", "email_verified": False})
    assert signed_in_as(await site.sign_in()) == ada.id
    # somebody else there, to whom the address went
    site.idp.plan(id_token={"sub": subject + "2", "email": ada.email, "email_verified": True})
    response = await site.sign_in()
    assert (response.status_code, signed_in_as(response)) == (403, None)


@module_loop
async def test_the_session_is_that_of_the_sign_in_pages(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"page{ada.id}", "email": ada.email, "email_verified": True})
    federation = site.world.app.state.federation
    site.world.app.state.federation = dataclasses.replace(federation, sign_in=browsers.FEDERATION.sign_in)
    try:
        response = await site.sign_in(query="?next=%2Fauth%2Fapplications")
    finally:
        site.world.app.state.federation = federation
    assert response.headers["location"] == "/auth/applications"
    (cookie,) = [each for each in response.headers.get_list("set-cookie") if each.startswith(SESSION_COOKIE)]
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    page = await site.world.http.get("/auth/applications", headers={"cookie": cookie.partition(";")[0]})
    assert ada.email in page.text
    assert ("auth.login", "info", ada.id) in site.world.audit()


@module_loop
@pytest.mark.parametrize("how", ["userinfo", "string", "none", "false", "missing", "number"])
async def test_an_address_counts_when_the_provider_says_that_it_is_verified(site: Site, ada: Account, how: str) -> None:
    said: dict[str, Any] = {"email": ada.email}
    said |= {
        "string": {"email_verified": "true"},
        "none": {"email_verified": None},
        "false": {"email_verified": False},
    }.get(how, {})
    if how == "number":
        said["email_verified"] = 1
    if how == "userinfo":
        site.idp.plan(
            id_token={"sub": f"s{ada.id}"}, userinfo={"sub": f"s{ada.id}", "email": ada.email, "email_verified": True}
        )
    else:
        site.idp.plan(id_token={"sub": f"s{ada.id}", **said})
    response = await site.sign_in()
    assert signed_in_as(response) == (ada.id if how == "userinfo" else None)
    if how != "userinfo":
        assert "It is not certain that your address there is yours" in response.text


@module_loop
async def test_a_provider_of_ones_own_may_be_trusted_but_not_against_its_word(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"t{ada.id}", "email": ada.email, "email_verified": False})
    assert signed_in_as(await site.sign_in("trusted")) is None
    site.idp.plan(id_token={"sub": f"t{ada.id}", "email": ada.email})
    assert signed_in_as(await site.sign_in("trusted")) == ada.id


@module_loop
async def test_nobody_gets_an_account_by_signing_in_elsewhere(site: Site) -> None:
    site.idp.plan(id_token={"sub": "stranger", "email": "stranger@example.org", "email_verified": True})
    response = await site.sign_in()
    assert (response.status_code, signed_in_as(response)) == (403, None)
    assert "No account here" in response.text
    assert site.world.actions()[-1] == "auth.login_failed"


@module_loop
async def test_who_is_signed_in_links_and_unlinks(site: Site, ada: Account) -> None:
    browser = await site.world.browser(ada)
    site.idp.plan(id_token={"sub": f"link{ada.id}", "email": "elsewhere@example.org", "email_verified": False})
    response = await site.sign_in(browser=browser, query="?link=true")
    assert response.headers["location"] == "/auth/identities"
    assert signed_in_as(await site.sign_in()) == ada.id
    page = await site.world.http.get("/auth/identities", headers=browser)
    assert "elsewhere@example.org" in page.text
    (identity,) = await Accounts(site.world.services.database).linked(ada.id)
    other = await site.world.user(f"other{next(_numbers)}@zentoria.test")
    theirs = await site.world.browser(other)
    response = await site.sign_in(browser=theirs, query="?link=true")
    assert response.status_code == 403
    assert "belongs to another account" in response.text
    fields = {"identity": str(identity.id)}
    await site.world.post("/auth/identities", fields, theirs)
    cross = await site.world.post("/auth/identities", fields, {**browser, "origin": "https://evil.example"})
    assert cross.status_code == 400
    assert len(await Accounts(site.world.services.database).linked(ada.id)) == 1
    assert (await site.world.post("/auth/identities", fields, browser)).status_code == 303
    assert signed_in_as(await site.sign_in()) is None
    assert (await site.world.post("/auth/identities", {"identity": "x"}, browser)).status_code == 400


@module_loop
async def test_to_link_one_has_signed_in_just_now_and_still_is(site: Site, ada: Account) -> None:
    assert (await site.world.http.get("/auth/providers/idp/start?link=true")).status_code == 403
    led = await site.world.http.get(
        "/auth/providers/idp/start?link=true",
        headers={**(await site.world.browser(ada)), "sec-fetch-site": "cross-site"},
    )
    assert led.status_code == 403, "another site's page leads nobody here"
    browser = await site.world.browser(ada)
    site.idp.plan(id_token={"sub": f"later{ada.id}"})
    visit = await site.start(browser=browser, query="?link=true")
    answer = await visit.at_provider()
    provider_cookie = visit.headers["cookie"].partition("; ")[2]
    assert (await visit.come_back(answer, {"cookie": provider_cookie})).status_code == 403
    before = site.world.clock[0]
    site.world.clock[0] += 3600
    try:
        late = await site.world.http.get("/auth/providers/idp/start?link=true", headers=browser)
        assert late.status_code == 403
        assert (await site.world.post("/auth/identities", {"identity": "x"}, browser)).status_code == 403
    finally:
        site.world.clock[0] = before


@module_loop
async def test_an_answer_is_for_the_browser_that_asked_and_once(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"once{ada.id}", "email": ada.email, "email_verified": True})
    victim, attacker = await site.start(), await site.start()
    answer = await attacker.at_provider()
    for headers in ({}, victim.headers, {"cookie": f"{COOKIE}=short"}):
        response = await attacker.come_back(answer, headers)
        assert (response.status_code, signed_in_as(response)) == (400, None)
    visit = await site.start()
    answer = await visit.at_provider()
    assert signed_in_as(await visit.come_back(answer)) == ada.id
    replay = await visit.come_back(answer)
    assert (replay.status_code, signed_in_as(replay)) == (400, None)


@module_loop
@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": ""},
        {"state": "made up"},
        {"state": "a" * 43},
        {"code": None},
        {"code": "made up"},
        {"error": "access_denied"},
        {"iss": "https://evil.example"},
        {"iss": ISSUER},
    ],
)
async def test_an_answer_that_is_refused(site: Site, ada: Account, change: dict[str, str | None]) -> None:
    site.idp.plan(id_token={"sub": f"no{ada.id}", "email": ada.email, "email_verified": True})
    visit = await site.start()
    answer: dict[str, str | None] = {**await visit.at_provider(), **change}
    response = await visit.come_back({name: value for name, value in answer.items() if value is not None})
    assert response.status_code in (400, 403, 502)
    assert signed_in_as(response) is None
    assert site.world.actions()[-1] == "auth.login_failed"
    assert "evil" not in response.text


@module_loop
async def test_an_answer_with_two_states_or_two_codes(site: Site) -> None:
    visit = await site.start()
    answer = await visit.at_provider()
    for name in ("state", "code"):
        response = await visit.come_back([*answer.items(), (name, "another")])
        assert (response.status_code, signed_in_as(response)) == (400, None)


@module_loop
async def test_an_answer_of_one_provider_at_the_address_of_another(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"mix{ada.id}", "email": ada.email, "email_verified": True})
    visit = await site.start("idp")
    answer = await visit.at_provider()
    visit.name = "trusted"
    response = await visit.come_back(answer)
    assert (response.status_code, signed_in_as(response)) == (400, None)


@module_loop
async def test_a_sign_in_that_took_too_long(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"slow{ada.id}", "email": ada.email, "email_verified": True})
    visit = await site.start()
    answer = await visit.at_provider()
    keys = [key async for key in site.world.services.redis.scan_iter("auth:provider:*")]
    lives = [await site.world.services.redis.ttl(key) for key in keys]
    assert keys
    assert all(0 < seconds <= LIFETIME for seconds in lives)
    assert not any(visit.asked["state"] in key for key in keys)
    await site.world.services.redis.delete(*keys)
    assert (await visit.come_back(answer)).status_code == 400


@module_loop
@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["zentoria", "another"]},
        {"aud": None},
        {"azp": "another"},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"sub": "a" * 256},
        {"sub": "a\nb"},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
async def test_an_id_token_that_is_refused(site: Site, ada: Account, change: dict[str, Any]) -> None:
    site.idp.plan(id_token={"sub": f"bad{ada.id}", "email": ada.email, "email_verified": True, **change})
    response = await site.sign_in()
    assert (response.status_code, signed_in_as(response)) == (502, None)
    assert site.world.actions()[-1] == "auth.login_failed"


@module_loop
@pytest.mark.parametrize(
    "trick", ["none", "HS256 with the secret", "HS256 with the public key", "own key", "own jwk", "text"]
)
async def test_an_id_token_that_somebody_else_made(site: Site, ada: Account, trick: str) -> None:
    visit = await site.start()
    now = int(time.time())
    claims = {
        "iss": site.idp.issuer, "aud": "zentoria", "sub": f"forged{ada.id}", "iat": now, "exp": now + 300,
        "nonce": visit.asked["nonce"], "email": ada.email, "email_verified": True,
    }  # fmt: skip
    async with httpx2.AsyncClient(trust_env=False) as http:
        (public,) = (await http.get(f"{site.idp.issuer}/jwks")).json()["keys"][:1]
    own = RSAKey.generate_key(2048)
    if trick == "none":
        token = f"{_part({'alg': 'none'})}.{_part(claims)}."
    elif trick == "HS256 with the secret":
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET * 2))
    elif trick == "HS256 with the public key":
        header = {"alg": "HS256", "kid": public["kid"]}
        token = jwt.encode(header, claims, OctKey.import_key(json.dumps(public)))
    elif trick == "own key":
        token = jwt.encode({"alg": "RS256", "kid": public["kid"]}, claims, own)
    elif trick == "own jwk":
        token = jwt.encode({"alg": "RS256", "jwk": own.as_dict(private=False)}, claims, own)
    else:
        token = "not a token"
    site.idp.plan(response={"id_token": token})
    response = await visit.come_back(await visit.at_provider())
    assert (response.status_code, signed_in_as(response)) == (502, None)


def _part(value: Mapping[str, Any]) -> str:
    return oauth_world.base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@module_loop
@pytest.mark.parametrize(
    "plan",
    [
        {"response": {"id_token": None}},
        {"response": {"id_token": 7}},
        {"response": {"id_token": "a" * 20_000}},
        {"response": {"error": "invalid_grant"}},
        {"status": 500},
        {"id_token": {"sub": "u"}, "userinfo": {"sub": "another", "email": "x@example.org"}},
    ],
)
async def test_a_token_endpoint_that_gives_nothing_useful(site: Site, plan: dict[str, Any]) -> None:
    site.idp.plan(**plan)
    response = await site.sign_in()
    assert (response.status_code, signed_in_as(response)) == (502, None)


@module_loop
async def test_keys_of_a_provider_change(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"keys{ada.id}", "email": ada.email, "email_verified": True})
    assert signed_in_as(await site.sign_in()) == ada.id
    site.world.clock[0] += 31
    try:
        site.idp.plan(id_token={"sub": f"keys{ada.id}", "email": ada.email}, new_key=True)
        for _ in range(2):
            assert signed_in_as(await site.sign_in()) == ada.id
    finally:
        site.world.clock[0] -= 31


@module_loop
@pytest.mark.parametrize("name", ["unknown", "..", "idp%00", "IDP"])
async def test_a_provider_that_there_is_not(site: Site, name: str) -> None:
    for what in ("start", "callback"):
        response = await site.world.http.get(f"/auth/providers/{name}/{what}")
        assert response.status_code in (400, 401, 404)
        assert signed_in_as(response) is None


@module_loop
@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/a\r\nset-cookie: x",
        "/" + "a" * 9000,
    ],
)
async def test_it_ends_on_this_site(site: Site, ada: Account, following: str) -> None:
    site.idp.plan(id_token={"sub": f"next{ada.id}", "email": ada.email, "email_verified": True})
    response = await site.sign_in(query="?" + urlencode({"next": following}))
    assert signed_in_as(response) == ada.id
    assert response.headers["location"] == web.HOME


@module_loop
async def test_a_second_factor_is_asked_for_all_the_same(site: Site, ada: Account) -> None:
    site.idp.plan(id_token={"sub": f"second{ada.id}", "email": ada.email, "email_verified": True})
    with site.world.postgres.connect(site.world.database) as connection:
        connection.execute(
            "insert into totp_factors (user_id, secret, confirmed_at) values (%s, 'sealed', now())", [ada.id]
        )
    federation = site.world.app.state.federation
    site.world.app.state.federation = dataclasses.replace(federation, sign_in=browsers.FEDERATION.sign_in)
    try:
        response = await site.sign_in(query="?next=%2Fauth%2Fdevice")
    finally:
        site.world.app.state.federation = federation
    assert response.headers["location"] == "/auth/sign-in/code?next=/auth/device"
    assert not any(each.startswith(SESSION_COOKIE) for each in response.headers.get_list("set-cookie"))


def _github(server: GitHubLike, emails: Any, user: Any = None, token: Any = None) -> None:
    server.asked.clear()
    server.answers = {
        "/login/oauth/access_token": (200, token or {"access_token": "gho_canary", "token_type": "bearer"}),
        "/api/user": (200, user or {"id": 583231, "login": "octocat", "name": None}),
        "/api/user/emails": emails if isinstance(emails, tuple) else (200, emails),
    }


@module_loop
async def test_github_by_the_primary_address_that_it_has_verified(site: Site, ada: Account) -> None:
    emails = [
        {"email": "old@example.org", "primary": False, "verified": True},
        {"email": ada.email, "primary": True, "verified": True},
    ]
    _github(site.github, emails, {"id": 1000 + ada.id, "login": "ada"})
    visit = await site.start("github")
    assert visit.asked["scope"] == "read:user user:email"
    assert signed_in_as(await visit.come_back(await visit.at_provider())) == ada.id
    path, _, body = site.github.asked[0]
    sent = {name: values[0] for name, values in parse_qs(body).items()}
    assert path == "/login/oauth/access_token"
    assert (sent["client_secret"], sent["code"]) == (SECRET, "a code")
    assert len(sent["code_verifier"]) >= 43
    assert site.github.asked[1][1]["authorization"] == "Bearer gho_canary"
    assert [each.provider for each in await Accounts(site.world.services.database).linked(ada.id)] == ["github"]


@module_loop
@pytest.mark.parametrize(
    ("emails", "user", "token"),
    [
        ([{"email": "ADA", "primary": True, "verified": False}], None, None),
        ([{"email": "ADA", "primary": False, "verified": True}], None, None),
        ([{"email": "ADA", "primary": "yes", "verified": "yes"}], None, None),
        ([], None, None),
        ({"message": "nope"}, None, None),
        ((403, {"message": "nope"}), None, None),
        ([7, None, {"email": None, "primary": True, "verified": True}], None, None),
        ([{"email": "ADA", "primary": True, "verified": True}], {"login": "octocat"}, None),
        ([{"email": "ADA", "primary": True, "verified": True}], {"id": "583231"}, None),
        ([{"email": "ADA", "primary": True, "verified": True}], None, {"error": "bad_verification_code"}),
        ([{"email": "ADA", "primary": True, "verified": True}], None, {"access_token": "a\nb"}),
        ([{"email": "ADA", "primary": True, "verified": True}], None, {"access_token": 7}),
    ],
)
async def test_github_that_does_not_vouch(site: Site, ada: Account, emails: Any, user: Any, token: Any) -> None:
    text = json.dumps(emails).replace("ADA", ada.email)
    found = json.loads(text)
    _github(site.github, tuple(found) if isinstance(emails, tuple) else found, user, token)
    response = await site.sign_in("github")
    assert response.status_code in (403, 502)
    assert signed_in_as(response) is None


@module_loop
async def test_no_secret_or_code_is_told(
    site: Site, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _github(site.github, [], token={"error": "incorrect_client_credentials", "error_description": SECRET})
    response = await site.sign_in("github")
    said = response.text + caplog.text + "".join(capsys.readouterr())
    assert SECRET not in said
    assert "a code" not in said


@module_loop
async def test_two_at_once_link_one_identity_once(site: Site, ada: Account) -> None:
    accounts = Accounts(site.world.services.database)
    claim = Claim("idp", "https://issuer.example", f"twice{ada.id}", ada.email, email_verified=True)
    found = await asyncio.gather(*(accounts.of(claim, PEER) for _ in range(4)), return_exceptions=True)
    assert ada.id in found
    assert len(await accounts.linked(ada.id)) == 1


GOOD = Claim("idp", "https://issuer.example", "s", "a@example.org", email_verified=True)


@pytest.mark.parametrize(
    ("claim", "known", "signed_in", "by_address", "has_other", "expected"),
    [
        (GOOD, 1, None, None, False, (1, False, None)),
        (GOOD, 1, 1, None, False, (1, False, None)),
        (GOOD, 1, 2, 2, False, (None, False, "taken")),
        (GOOD, None, 2, 3, True, (2, True, None)),
        (GOOD, None, None, 3, False, (3, True, None)),
        (GOOD, None, None, 3, True, (None, False, "linked")),
        (GOOD, None, None, None, False, (None, False, "unknown")),
        (dataclasses.replace(GOOD, email_verified=False), None, None, 3, False, (None, False, "unverified")),
        (dataclasses.replace(GOOD, email=None), None, None, None, False, (None, False, "unverified")),
    ],
)
def test_whose_identity_it_is(
    claim: Claim, known: int | None, signed_in: int | None, by_address: int | None, has_other: bool, expected: Any
) -> None:
    found = decide(claim, known=known, signed_in=signed_in, by_address=by_address, has_other=has_other)
    assert (found.user_id, found.links, found.reason) == expected


MICROSOFT = {"name": "ms", "kind": "microsoft", "label": "Microsoft", "client_id": "c", "tenant": "consumers"}


@pytest.mark.parametrize(
    ("edov", "verified"),
    [(True, True), ("true", True), ("1", True), (1, True), (False, False), (None, False), ("0", False)],
)
def test_an_address_of_microsofts_counts_when_its_domain_was_proven(edov: Any, verified: bool) -> None:
    """Any tenant can write any address into ``email``, and ``email_verified`` means nothing there."""
    client = OpenIdProvider(Provider(**MICROSOFT), None, Outbound())
    assert client._is_verified({"email": "a@example.org", "email_verified": True, "xms_edov": edov}) is verified


def test_presets_know_their_issuers() -> None:
    google = Provider(name="google", kind="google", label="Google", client_id="c")
    assert google.issuer_url == "https://accounts.google.com"
    tenant = "00000000-0000-0000-0000-00000000000a"
    microsoft = Provider(**{**MICROSOFT, "tenant": tenant})
    assert microsoft.issuer_url == f"https://login.microsoftonline.com/{tenant}/v2.0"
    assert "9188040d" in Provider(**MICROSOFT).issuer_url


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": None},
        {"tenant": "common"},
        {"tenant": "organizations"},
        {"issuer": "https://evil.example"},
        {"trust_email": True},
        {"name": "../x"},
        {"name": "Ms"},
        {"kind": "github", "tenant": None},
        {"kind": "oidc", "tenant": None},
        {"kind": "oidc", "tenant": None, "issuer": "https://a.example/?x"},
        {"kind": "oidc", "tenant": None, "issuer": "https://user@a.example"},
        {"scopes": ["a b"]},
        {"unknown": 1},
    ],
)
def test_settings_of_a_provider_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Provider(**{name: value for name, value in {**MICROSOFT, **change}.items() if value is not None})


@pytest.mark.parametrize("text", ["", "{}", "[7]", "[{}]", "nope", json.dumps([MICROSOFT, MICROSOFT]), "\xff"])
def test_a_file_of_providers_that_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "providers.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="ZENTORIA_PROVIDERS_FILE"):
        read_providers(path)
    with pytest.raises(SettingsError):
        read_providers(tmp_path / "none.json")


def test_a_file_of_providers(tmp_path: Path) -> None:
    assert read_providers(None) == ()
    path, secret = tmp_path / "providers.json", tmp_path / "secret"
    path.write_text(json.dumps([{**MICROSOFT, "client_secret_file": str(secret)}]))
    (provider,) = read_providers(path)
    for text in (None, "", "\n"):
        if text is not None:
            secret.write_text(text)
        with pytest.raises(SettingsError, match="provider ms"):
            read_secret(provider)
    secret.write_text("s\n")
    found = read_secret(provider)
    assert found is not None
    assert found.get_secret_value() == "s"
