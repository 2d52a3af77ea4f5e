"""Access tokens: what they say, and every way of forging one that is known by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest
from auth_servers import PUBLIC_URL, ec_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from zentoria_auth.tokens.access import LIFETIME, AccessTokens, BadToken, Grant
from zentoria_auth.tokens.keys import SigningKeys, UnusableKey

NOW = 1_800_000_000.0
PEM = ec_key()
KEYS = SigningKeys.read(PEM)
GRANT = Grant(12, "owner", uuid.UUID(int=7), ("files:read", "jobs:read"), ("pwd", "otp", "mfa"))
PUBLIC_PEM = (
    serialization.load_pem_private_key(PEM.encode(), None)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)
OTHER = ECKey.import_key(ec_key())


def tokens(keys: SigningKeys = KEYS, now: float = NOW) -> AccessTokens:
    return AccessTokens(keys, PUBLIC_URL, lambda: now)


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def body() -> str:
    return tokens().issue(GRANT).split(".")[1]


def signed(header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    """A token as ours, with what a test changes; None leaves a claim out."""
    good = tokens().verify(tokens().issue(GRANT)) | claims
    kept = {name: value for name, value in good.items() if value is not None}
    whole = {"alg": "ES256", "typ": "at+jwt", "kid": KEYS.current.kid} | (header or {})
    shown = {name: value for name, value in whole.items() if value is not None}
    signing = key or KEYS.current
    if isinstance(signing, OctKey):
        head = f"{part(shown)}.{part(kept)}"
        mac = hmac.digest(signing.raw_value, head.encode(), hashlib.sha256)
        return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    registry = None
    if "crit" in shown:
        from joserfc.jws import JWSRegistry

        registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return jwt.encode(shown, kept, signing, algorithms=["ES256"], registry=registry, default_type=None)


def confused() -> str:
    """HMAC with the public key as its secret."""
    head = part({"alg": "HS256", "typ": "at+jwt", "kid": KEYS.current.kid})
    mac = hmac.digest(PUBLIC_PEM, f"{head}.{body()}".encode(), hashlib.sha256)
    return f"{head}.{body()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_it_says_what_rfc_9068_asks_for() -> None:
    token = tokens().issue(GRANT)
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": KEYS.current.kid}
    claims = tokens().verify(token)
    assert uuid.UUID(claims.pop("jti"))
    assert claims == {
        "iss": PUBLIC_URL,
        "sub": "12",
        "aud": f"{PUBLIC_URL}/api",
        "iat": NOW,
        "exp": NOW + LIFETIME,
        "sid": str(uuid.UUID(int=7)),
        "scope": "files:read jobs:read",
        "client_id": "zentoria-web",
        "role": "owner",
        "amr": ["pwd", "otp", "mfa"],
    }
    assert LIFETIME == 900


def test_an_older_key_still_verifies_and_its_kid_does_not_change() -> None:
    newer = SigningKeys.read(ec_key(), PEM)
    assert tokens(newer).verify(tokens().issue(GRANT))["sub"] == "12"
    assert [key["kid"] for key in newer.jwks()["keys"]][1] == KEYS.current.kid
    with pytest.raises(BadToken):
        tokens().verify(tokens(newer).issue(GRANT))


def test_only_public_parts_are_published() -> None:
    for key in SigningKeys.read(PEM, ec_key()).jwks()["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


FORGED = {
    "alg none": lambda: f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{body()}.",
    "alg nOnE": lambda: f"{part({'alg': 'nOnE', 'typ': 'at+jwt', 'kid': KEYS.current.kid})}.{body()}.",
    "no signature": lambda: tokens().issue(GRANT).rsplit(".", 1)[0] + ".",
    "HMAC with the public key": confused,
    "HMAC with a guess": lambda: signed({"alg": "HS256"}, OctKey.import_key("secret-secret-secret-secret-1234")),
    "another key under our kid": lambda: signed(key=OTHER),
    "another key and its kid": lambda: signed({"kid": OTHER.thumbprint()}, OTHER),
    "a key of its own in the header": lambda: signed({"jwk": OTHER.as_dict(private=False)}, OTHER),
    "a key by URL": lambda: signed({"jku": "https://evil.test/jwks.json", "kid": "x"}, OTHER),
    "no kid": lambda: signed({"kid": None}),
    "another type": lambda: signed({"typ": "JWT"}),
    "no type": lambda: signed({"typ": None}),
    "another issuer": lambda: signed(iss="https://evil.test"),
    "another audience": lambda: signed(aud="https://zentoria.test/mcp"),
    "no audience": lambda: signed(aud=None),
    "expired": lambda: signed(exp=int(NOW) - 1),
    "no expiry": lambda: signed(exp=None),
    "an expiry that is a text": lambda: signed(exp="tomorrow"),
    "not yet": lambda: signed(nbf=int(NOW) + 100),
    "no session": lambda: signed(sid=None),
    "not ASCII": lambda: tokens().issue(GRANT) + "é",
    "too long": lambda: tokens().issue(GRANT) + "A" * 10_000,
    "nothing": lambda: "",
    "encrypted": lambda: "a.b.c.d.e",
    "not JSON": lambda: "a.b.c",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_refused(how: str) -> None:
    with pytest.raises(BadToken):
        tokens().verify(FORGED[how]())


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=0, max_value=6))
def test_no_bit_of_a_token_can_be_changed(place: int, bit: int) -> None:
    token = tokens().issue(GRANT)
    at = place % len(token)
    spoilt = token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :]
    try:
        if [base64.urlsafe_b64decode(one + "==") for one in spoilt.split(".")] == [
            base64.urlsafe_b64decode(one + "==") for one in token.split(".")
        ]:
            return  # the last character of a part has bits that mean nothing
    except ValueError:
        pass
    with pytest.raises(BadToken):
        tokens().verify(spoilt)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
        ec_key(ec.SECP384R1()),
        PUBLIC_PEM.decode(),
    ],
)
def test_a_key_that_cannot_sign_is_named_without_its_text(pem: str) -> None:
    with pytest.raises(UnusableKey) as caught:
        SigningKeys.read(pem)
    assert "canary" not in str(caught.value)
