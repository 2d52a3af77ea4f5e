"""Credentials, tokens, the permission table: what is let through and what is not."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

import httpx2
import pytest
from backend_fakes import app_with
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from gateway_kit import PUBLIC_URL, AuthService, World
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.datastructures import Headers
from zentoria_backend.access.credentials import KeyCredential, TokenCredential, extract
from zentoria_backend.access.gate import gate
from zentoria_backend.access.rule import Rule
from zentoria_backend.access.rules import TABLE, table
from zentoria_backend.access.tokens import BURST, RETRY, KeyCache, TokenVerifier
from zentoria_common.problems import Problem, Unavailable

KEY = "zt_abcdefgh_" + "x" * 43


def scope(*headers: tuple[str, str], query: str = "") -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "headers": raw, "query_string": query.encode()}


def routes(app: FastAPI) -> dict[tuple[str, str], Any]:
    """Every route by method and path, those of included routers too."""
    return {
        (method, str(each.path)): each
        for each in iter_route_contexts(app.routes)
        for method in each.methods or ("WS",)
        if each.path is not None
    }


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    there = routes(app_with(())).keys()
    ruled = {key for key in TABLE if key[0] != "TOOL"}
    assert there - ruled == set()
    assert ruled - there == set()


def test_every_route_with_a_scope_is_behind_the_gate() -> None:
    for key, each in routes(app_with(())).items():
        if TABLE[key].scope is not None and key[1] != "/mcp":  # it asks by itself: see mcp.endpoint
            assert gate in [dependency.call for dependency in each.dependant.dependencies], key


def test_the_table_takes_no_second_line_and_no_unknown_scope() -> None:
    rule = Rule("GET", "/x", "files:read")
    with pytest.raises(ValueError, match="GET /x has two rules"):
        table((rule, Rule("GET", "/x", None)))
    with pytest.raises(ValueError, match="no scope 'files:raed'"):
        Rule("GET", "/x", "files:raed")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((), None),
        ((("Authorization", f"Bearer {KEY}"),), KeyCredential("abcdefgh", KEY)),
        ((("Authorization", f"bearer  {KEY}"),), KeyCredential("abcdefgh", KEY)),
        ((("X-API-Key", KEY),), KeyCredential("abcdefgh", KEY)),
        ((("Authorization", "Bearer a.b.c"),), TokenCredential("a.b.c")),
    ],
)
def test_one_credential_is_taken(headers: Any, found: Any) -> None:
    assert extract(scope(*headers)) == found


@pytest.mark.parametrize(
    ("headers", "query", "status", "kind"),
    [
        ((("Authorization", "Bearer a.b.c"), ("X-API-Key", KEY)), "", 400, "two-credentials"),
        ((("Authorization", "Bearer a.b.c"), ("Authorization", "Bearer a.b.c")), "", 400, "two-credentials"),
        ((("X-API-Key", KEY), ("X-API-Key", KEY)), "", 400, "two-credentials"),
        ((), "access_token=x", 400, "credential-in-url"),
        ((), "a=1&API_KEY=x", 400, "credential-in-url"),
        ((("X-API-Key", "zt_short_x"),), "", 401, "invalid-credential"),
        ((("X-API-Key", "a.b.c"),), "", 401, "invalid-credential"),
        ((("Authorization", "Basic YTpi"),), "", 401, "invalid-credential"),
        ((("Authorization", "Bearer"),), "", 401, "invalid-credential"),
        ((("Authorization", "Bearer a b"),), "", 401, "invalid-credential"),
        ((("Authorization", "Bearer a,b"),), "", 401, "invalid-credential"),
        ((("Authorization", "Bearer " + "a" * 9000),), "", 401, "invalid-credential"),
    ],
)
def test_others_are_refused(headers: Any, query: str, status: int, kind: str) -> None:
    with pytest.raises(Problem) as caught:
        extract(scope(*headers, query=query))
    assert (caught.value.status, caught.value.kind) == (status, kind)
    assert ("www-authenticate" in caught.value.headers) == (status == 401)


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key"]), st.text(st.characters(max_codepoint=255)))))
def test_whatever_stands_there_is_taken_or_refused(given_headers: list[tuple[str, str]]) -> None:
    try:
        found = extract(scope(*given_headers))
    except Problem as refusal:
        assert refusal.status in (400, 401)
        assert all(len(value) < 4 or value not in str(refusal) for _, value in given_headers if "zt_" in value)
    else:
        assert (found is None) == (not given_headers)


def b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(auth: AuthService, header: dict[str, Any], **claims: Any) -> str:
    """A token with the header as given, signed with the service's key."""
    good = auth.token(1, sid=str(uuid.uuid4()), **claims)
    payload = good.split(".")[1]
    return jwt.encode(
        {"typ": "at+jwt", "kid": auth.keys[-1].kid} | header,
        json.loads(base64.urlsafe_b64decode(payload + "==")),
        auth.keys[-1],
        algorithms=["ES256"],
    )


def tricks() -> dict[str, Any]:
    """Tokens that are not good, each with why."""

    def stranger(auth: AuthService) -> str:
        other = AuthService()
        other.keys[-1] = ECKey.import_key(other.keys[-1].as_dict(private=True) | {"kid": auth.keys[-1].kid})
        return other.token(1, sid=str(uuid.uuid4()))

    def confused(auth: AuthService) -> str:
        public = auth.keys[-1].as_pem(private=False)
        header = {"alg": "HS256", "typ": "at+jwt", "kid": auth.keys[-1].kid}
        return jwt.encode(header, {"sub": "1"}, OctKey.import_key(b"k" * 8 + public[30:]), algorithms=["HS256"])

    def unsigned(auth: AuthService) -> str:
        return f"{b64({'alg': 'none', 'typ': 'at+jwt', 'kid': auth.keys[-1].kid})}.{b64({'sub': '1'})}."

    def cut(auth: AuthService) -> str:
        return auth.token(1, sid=str(uuid.uuid4()))[:-4]

    def swapped(auth: AuthService) -> str:
        head, _, sign = auth.token(1, sid=str(uuid.uuid4())).split(".")
        return f"{head}.{b64({'sub': '2'})}.{sign}"

    now = int(time.time())
    return {
        "another key with the same kid": stranger,
        "HS256 with the public key": confused,
        "alg none": unsigned,
        "cut short": cut,
        "another payload": swapped,
        "not a token": lambda auth: "a.b.c",
        "deep header": lambda auth: base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=") + ".e30.e30",
        "a key in the header": lambda auth: forged(auth, {"alg": "ES256", "jwk": auth.keys[-1].as_dict(private=False)}),
        "typ of an id token": lambda auth: forged(auth, {"alg": "ES256", "typ": "JWT"}),
        "expired": lambda auth: auth.token(1, sid=str(uuid.uuid4()), exp=now - 10),
        "from tomorrow": lambda auth: auth.token(1, sid=str(uuid.uuid4()), iat=now + 3600),
        "not before": lambda auth: auth.token(1, sid=str(uuid.uuid4()), nbf=now + 3600),
        "another issuer": lambda auth: auth.token(1, sid=str(uuid.uuid4()), iss="https://evil.test"),
        "another audience": lambda auth: auth.token(1, sid=str(uuid.uuid4()), aud=f"{PUBLIC_URL}/mcp"),
        "no audience": lambda auth: auth.token(1, sid=str(uuid.uuid4()), aud=[]),
        "subject is no user": lambda auth: auth.token(1, sid=str(uuid.uuid4()), sub="ada"),
        "subject is zero": lambda auth: auth.token(1, sid=str(uuid.uuid4()), sub="0"),
        "expiry is a text": lambda auth: auth.token(1, sid=str(uuid.uuid4()), exp="never"),
        "role that there is not": lambda auth: auth.token(1, sid=str(uuid.uuid4()), scope="", role="admin"),
        "sid is no id": lambda auth: auth.token(1, sid="'; drop table"),
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("name", tricks())
async def test_a_token_that_is_not_good_is_refused(name: str) -> None:
    auth = AuthService()
    calls = 0

    async def fetch() -> bytes:
        nonlocal calls
        calls += 1
        return json.dumps({"keys": [key.as_dict(private=False) for key in auth.keys]}).encode()

    verifier = TokenVerifier(KeyCache(fetch), PUBLIC_URL)
    good = await verifier.verify(auth.token(7, sid=str(uuid.uuid4())), f"{PUBLIC_URL}/api")
    assert good.sub == "7"
    with pytest.raises(Problem) as caught:
        await verifier.verify(tricks()[name](auth), f"{PUBLIC_URL}/api")
    assert (caught.value.status, caught.value.kind) == (401, "invalid-credential")
    assert calls == 1


@pytest.mark.asyncio
async def test_keys_turn_and_a_forged_kid_asks_seldom() -> None:
    auth, now, calls, away = AuthService(), 1000.0, 0, False

    async def fetch() -> bytes:
        nonlocal calls
        calls += 1
        if away:
            raise OSError("refused")
        return json.dumps({"keys": [key.as_dict(private=False) for key in auth.keys]}).encode()

    cache = KeyCache(fetch, lambda: now)
    first = str(auth.keys[0].kid)
    assert await cache.get(first) is not None
    auth.rotate()
    second = str(auth.keys[1].kid)
    assert await cache.get(second) is not None
    for _ in range(50):
        assert await cache.get("forged") is None
    assert calls == BURST
    auth.rotate()
    assert await cache.get(str(auth.keys[2].kid)) is None  # too soon to ask again
    now += RETRY * BURST
    assert await cache.get("forged") is None
    assert await cache.get(str(auth.keys[2].kid)) is not None
    auth.keys.pop()
    now += 3600
    away = True
    assert await cache.get(first) is not None  # old, but all that there is
    auth.keys.pop(0)
    away = False
    now += RETRY * BURST
    assert await cache.get(first) is None


@pytest.mark.asyncio
async def test_without_any_keys_it_is_503_and_comes_back() -> None:
    auth, now, away = AuthService(), 1000.0, True

    async def fetch() -> bytes:
        if away:
            raise OSError("refused")
        return json.dumps({"keys": [key.as_dict(private=False) for key in auth.keys]}).encode()

    cache = KeyCache(fetch, lambda: now)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await cache.get("x")
    away, now = False, now + RETRY
    assert await cache.get(str(auth.keys[0].kid)) is not None


@pytest.mark.asyncio
async def test_a_session_that_ended_is_refused(client: httpx2.AsyncClient, world: World) -> None:
    person, other = world.person(), world.person()
    assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200
    world.admin.execute("update sessions set ended_at = now() where id = %s", [other.sid])
    answer = await client.get("/api/v1/keys", headers=other.headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the session has ended")


@pytest.mark.asyncio
async def test_oauth_tokens_are_for_one_resource(client: httpx2.AsyncClient, world: World) -> None:
    person = world.person()
    for audience, status in (("api", 200), ("mcp", 401)):
        token = world.auth.token(
            person.id, client_id="https://client.example/mcp", aud=f"{PUBLIC_URL}/{audience}", scope="keys:read"
        )
        answer = await client.get("/api/v1/keys", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert "www-authenticate" in answer.headers


@pytest.mark.asyncio
async def test_a_missing_scope_is_named(client: httpx2.AsyncClient, world: World) -> None:
    key = world.key(world.person().id, "keys:read")
    before = world.last_audit()
    answer = await client.post("/api/v1/keys", json={}, headers={"X-API-Key": key})
    assert answer.status_code == 403
    assert answer.json()["scope"] == "keys:write"
    assert answer.headers["www-authenticate"].endswith('error="insufficient_scope", scope="keys:write"')
    assert [row["action"] for row in world.audit(after=before)] == ["access.denied"]


@pytest.mark.asyncio
async def test_a_bad_credential_is_one_audit_row_until_there_are_too_many(world: World) -> None:
    before = world.last_audit()
    async with world.client(limit_failures=5) as client:
        answers = [await client.get("/api/v1/keys", headers={"X-API-Key": KEY}) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert answers[-1].headers["retry-after"]
        person = world.person()
        assert (await client.get("/api/v1/keys", headers=person.headers)).status_code == 200
    rows = world.audit(after=before)
    assert [(row["action"], row["severity"], row["actor"]) for row in rows] == [
        ("auth.failed", "warning", "anonymous")
    ] * 5
    assert KEY not in json.dumps(rows, default=str)


@pytest.mark.asyncio
async def test_no_credential_is_401_without_a_row(client: httpx2.AsyncClient, world: World) -> None:
    before = world.last_audit()
    answer = await client.get("/api/v1/keys")
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/no-credential")
    assert answer.headers["www-authenticate"] == 'Bearer realm="zentoria"'
    assert world.audit(after=before) == []


def test_headers_are_read_as_starlette_reads_them() -> None:
    assert Headers(scope=scope(("X-API-Key", "a"), ("x-api-key", "b"))).getlist("X-API-KEY") == ["a", "b"]
