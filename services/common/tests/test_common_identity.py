from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from fastapi import FastAPI, Request
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from pydantic import SecretStr
from zentoria_common.application import make_app
from zentoria_common.identity import Callers, Identity, OnBehalf
from zentoria_common.settings import CommonSettings, SettingsError

FOR = OnBehalf(12, frozenset({"files:read", "chat:read"}), "0197-sid")


def pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> SecretStr:
    made = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SecretStr(made.decode())


KEYS = {name: pem(ed25519.Ed25519PrivateKey.generate()) for name in ("backend", "ocr", "stranger")}
BACKEND, OCR = Identity("backend", KEYS["backend"]), Identity("ocr", KEYS["ocr"])


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    path = tmp_path / "callers.json"
    path.write_text(json.dumps({"keys": [BACKEND.public_jwk(), OCR.public_jwk()]}))
    return Callers.read("embeddings", path)


@pytest.fixture
def app(callers: Callers) -> FastAPI:
    app = make_app(
        CommonSettings(), (), name="x", title="x", version="1", callers=callers, public=("/pages/", "/robots.txt")
    )

    @app.get("/who")
    @app.get("/pages/who")
    @app.get("/robots.txt")
    async def who(request: Request) -> dict[str, Any]:
        user: OnBehalf | None = request.state.on_behalf
        return {"caller": request.state.caller, "user": user and [user.user_id, sorted(user.scopes), user.sid]}

    return app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x.test") as client,
    ):
        yield client


@pytest.mark.asyncio
async def test_a_caller_and_its_user_are_known(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/who", headers=BACKEND.headers("embeddings", FOR))
    assert answer.json() == {"caller": "backend", "user": [12, ["chat:read", "files:read"], "0197-sid"]}
    answer = await client.get("/who", headers=OCR.headers("embeddings"))
    assert answer.json() == {"caller": "ocr", "user": None}


def forged(kind: str = "zentoria-caller+jwt", key: Any = None, headers: Any = None, **claims: Any) -> str:
    now = int(time.time())
    signing = OKPKey.import_key(KEYS["backend"].get_secret_value()) if key is None else key
    header = {"alg": "Ed25519", "kid": "backend", "typ": kind} | (headers or {})
    whole = {"iss": "backend", "aud": "embeddings", "iat": now, "exp": now + 60} | claims
    return jwt.encode(
        header, {name: value for name, value in whole.items() if value is not None}, signing, [header["alg"]]
    )


STRANGER = OKPKey.import_key(KEYS["stranger"].get_secret_value())
CASES: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "no token": lambda: "Bearer x",
    "three dots": lambda: "...",
    "not UTF-8": lambda: "\udce4.x.y".encode("utf-8", "surrogateescape").decode("latin-1"),
    "huge": lambda: "x" * 100_000,
    "another's key": lambda: forged(key=STRANGER),
    "an unknown name": lambda: forged(key=STRANGER, headers={"kid": "stranger"}, iss="stranger"),
    "names another": lambda: forged(iss="ocr"),
    "for another": lambda: forged(aud="ai"),
    "for several": lambda: forged(aud=["embeddings", "ai"]),
    "expired": lambda: forged(iat=int(time.time()) - 120, exp=int(time.time()) - 60),
    "of tomorrow": lambda: forged(iat=int(time.time()) + 3600, exp=int(time.time()) + 3660),
    "for a day": lambda: forged(exp=int(time.time()) + 86400),
    "without an end": lambda: forged(exp=None),
    "with a text for a time": lambda: forged(exp="tomorrow"),
    "a user's token": lambda: forged(kind="zentoria-user+jwt"),
    "an access token": lambda: forged(kind="at+jwt"),
    "alg none": lambda: "eyJhbGciOiJub25lIiwia2lkIjoiYmFja2VuZCIsInR5cCI6InplbnRvcmlhLWNhbGxlcitqd3QifQ.e30.",
    "alg HS256 with the public key": lambda: forged(
        key=OctKey.import_key(BACKEND.public_jwk()["x"].encode()), headers={"alg": "HS256"}
    ),
    "its own key in the header": lambda: forged(key=STRANGER, headers={"jwk": STRANGER.as_dict(private=False)}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES)
async def test_no_other_caller_is_answered(client: httpx2.AsyncClient, case: str) -> None:
    answer = await client.get("/who", headers={"Zentoria-Caller": CASES[case]().encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/caller-unknown"


USERS: dict[str, Callable[[], str]] = {
    "a caller's token": lambda: forged(),
    "not from the gateway": lambda: jwt.encode(
        {"alg": "Ed25519", "kid": "ocr", "typ": "zentoria-user+jwt"},
        {"iss": "ocr", "aud": "embeddings", "iat": int(time.time()), "exp": int(time.time()) + 60, "sub": "1"},
        OKPKey.import_key(KEYS["ocr"].get_secret_value()),
        ["Ed25519"],
    ),
    "for another": lambda: forged("zentoria-user+jwt", aud="ai", sub="1", scope=""),
    "no user": lambda: forged("zentoria-user+jwt", scope="files:read"),
    "user by number": lambda: forged("zentoria-user+jwt", sub=1, scope="files:read"),
    "user with a sign": lambda: forged("zentoria-user+jwt", sub="-1", scope="files:read"),
    "unknown scope": lambda: forged("zentoria-user+jwt", sub="1", scope="files:everything"),
    "empty": lambda: "",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", USERS)
async def test_nobody_speaks_for_a_user_but_the_gateway(client: httpx2.AsyncClient, case: str) -> None:
    headers = BACKEND.headers("embeddings") | {"Zentoria-User": USERS[case]()}
    assert (await client.get("/who", headers=headers)).status_code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["Zentoria-Caller", "Zentoria-User"])
async def test_a_header_that_comes_twice_is_refused(client: httpx2.AsyncClient, name: str) -> None:
    given = BACKEND.headers("embeddings", FOR)
    twice = [*given.items(), (name, given[name.lower()])]
    assert (await client.get("/who", headers=twice)).status_code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200), ("/health/live", 200), ("/metrics", 200), ("/pages/who", 200), ("/robots.txt", 200),
        ("/who", 401), ("/nothing", 401), ("/healthy", 401), ("/health/", 401), ("/pagesx", 401),
        ("/robots.txt/x", 401),
    ],
)  # fmt: skip
async def test_public_is_what_is_said_to_be(client: httpx2.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    if path == "/pages/who":  # what a stranger says of itself there means nothing
        answer = await client.get(path, headers={"Zentoria-Caller": "x", "Zentoria-User": "y"})
        assert answer.json() == {"caller": None, "user": None}


def test_a_key_of_another_kind_is_named_by_its_variable() -> None:
    for bad in (pem(ec.generate_private_key(ec.SECP256R1())), SecretStr("hunter2")):
        with pytest.raises(SettingsError, match="ZENTORIA_IDENTITY_KEY_FILE") as caught:
            Identity("backend", bad)
        assert bad.get_secret_value() not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{}]}', '{"keys": [{"kty": "oct", "k": "AA", "kid": "x"}]}'])
def test_a_wrong_file_of_callers_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "callers.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match="ZENTORIA_CALLERS_FILE"):
        Callers.read("x", path)
    with pytest.raises(SettingsError, match="No such file"):
        Callers.read("x", tmp_path / "nothing")
