"""What is derived from secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from zentoria_infra.guest import secrets

VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def parts(verifier: str) -> tuple[int, bytes, bytes, bytes]:
    match = VERIFIER.fullmatch(verifier)
    assert match
    return int(match[1]), *(base64.b64decode(match[each]) for each in (2, 3, 4))  # type: ignore[return-value] # three


def accepts(verifier: str, proof: bytes, message: bytes) -> bool:
    """What a server does (RFC 5802, section 3)."""
    _, _, stored, _ = parts(verifier)
    signature = hmac.digest(stored, message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hashlib.sha256(client_key).digest() == stored


def test_vector_of_rfc_7677() -> None:
    first = "rOprNGfwEbeRWgbNEkqO"
    nonce = first + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    message = f"n=user,r={first},r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    verifier = secrets.scram_verifier("pencil", base64.b64decode(salt), 4096)
    assert accepts(verifier, base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), message)
    _, _, _, server_key = parts(verifier)
    signature = base64.b64encode(hmac.digest(server_key, message, "sha256")).decode()
    assert signature == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(password=PASSWORDS, other=PASSWORDS, user=st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True))
@hypothesis_settings(max_examples=25, deadline=None)
def test_only_the_password_proves(password: str, other: str, user: str) -> None:
    verifier = secrets.role_verifier(SecretStr(password), user)
    iterations, salt, _, _ = parts(verifier)
    message = b"n=,r=x,r=xy,s=z,i=4096,c=biws,r=xy"

    def proof(text: str) -> bytes:
        salted = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, iterations)
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        return bytes(a ^ b for a, b in zip(key, signature, strict=True))

    assert accepts(verifier, proof(password), message)
    assert accepts(verifier, proof(other), message) == (other == password)
    assert secrets.role_verifier(SecretStr(password), user) == verifier
    assert password not in verifier or len(password) < 8


def test_each_user_and_password_has_a_salt_of_its_own() -> None:
    one = secrets.scram_salt(SecretStr("a" * 40), "ai")
    assert one == secrets.scram_salt(SecretStr("a" * 40), "ai")
    assert one != secrets.scram_salt(SecretStr("a" * 40), "auth")
    assert one != secrets.scram_salt(SecretStr("b" * 40), "ai")
    assert len(one) == 16


@pytest.mark.parametrize("password", ["pässword", "a\nb", "a\x00"])
def test_passwords_that_need_saslprep_are_refused(password: str) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        secrets.scram_verifier(password, b"0" * 16)


def test_new_passwords() -> None:
    made = {secrets.new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", one) for one in made)


def test_redis_hash() -> None:
    assert secrets.redis_hash(SecretStr("test")) == "#" + hashlib.sha256(b"test").hexdigest()


@pytest.mark.parametrize("kind", ["password", "hex32", "keypair", "ec-keypair"])
def test_each_kind_is_made_anew_and_fits_its_use(kind: secrets.Kind) -> None:
    one, other = secrets.generator(kind)(), secrets.generator(kind)()
    assert one != other
    if kind == "hex32":
        assert len(bytes.fromhex(one)) == 32
    if kind.endswith("keypair"):
        public = secrets.public_key(SecretStr(one))
        assert public.startswith("-----BEGIN PUBLIC KEY-----")
        assert secrets.public_key(SecretStr(one)) == public != secrets.public_key(SecretStr(other))


def test_a_stand_in_for_a_key_pair_is_the_same_each_time_and_of_its_kind() -> None:
    for kind in ("keypair", "ec-keypair"):
        make = secrets.generator(kind)  # type: ignore[arg-type] # both are kinds
        one = secrets.stand_in("zentoria/identity/auth", make)
        assert one is not None
        assert one == secrets.stand_in("zentoria/identity/auth", make) != secrets.stand_in("zentoria/x", make)
        assert "BEGIN PUBLIC KEY" in secrets.public_key(SecretStr(one))
    assert secrets.stand_in("zentoria/db/x", secrets.new_password) is None


def test_the_public_half_is_a_jwk_of_ed25519_alone() -> None:
    found = secrets.public_jwk(SecretStr(secrets.new_keypair()), "auth")
    assert found.keys() == {"kty", "crv", "x", "kid"}
    assert (found["crv"], found["kid"], len(found["x"])) == ("Ed25519", "auth", 43)
    with pytest.raises(ValueError, match="another kind"):
        secrets.public_jwk(SecretStr(secrets.new_ec_keypair()), "auth")
