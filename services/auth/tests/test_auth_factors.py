"""One-time codes, recovery codes, and what seals secrets."""

from __future__ import annotations

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from zentoria_auth.factors import recovery, totp
from zentoria_auth.sealing import CannotOpen, Sealer

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def test_rfc_6238s_own_example() -> None:
    # Appendix B, SHA-1, the last six of its eight digits
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        assert totp.step_of(secret, code, seconds) == seconds // 30


@given(st.integers(min_value=3000, max_value=4_000_000_000), st.integers(min_value=-4, max_value=4))
def test_a_clock_may_be_off_by_one_step(now: int, off: int) -> None:
    code = pyotp.TOTP(SECRET).generate_otp(now // 30 + off)
    found = totp.step_of(SECRET, code, now)
    if abs(off) <= 1:
        assert found is not None
        assert abs(found - now // 30) <= 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12345a", "-12345", "0x1234", "1" * 5000])
def test_what_is_no_code(code: str) -> None:
    assert totp.step_of(SECRET, code, 1_800_000_000) is None


def test_a_code_may_have_a_space_in_it() -> None:
    code = pyotp.TOTP(SECRET).at(1_800_000_000)
    assert totp.step_of(SECRET, f" {code[:3]} {code[3:]} ", 1_800_000_000) == 60_000_000


def test_new_secrets_have_160_bits_and_go_into_an_app() -> None:
    secret = totp.new_secret()
    assert len(pyotp.TOTP(secret).byte_secret()) == 20
    uri = totp.uri(secret, "anna@example.org", "Zentoria")
    assert pyotp.parse_uri(uri).secret == secret


def test_recovery_codes_are_many_different_and_kept_as_hashes() -> None:
    codes = recovery.new_codes()
    kept = recovery.digests(codes)
    assert len(set(codes)) == len(set(kept)) == recovery.COUNT == 10
    for code, digest in zip(codes, kept, strict=True):
        assert recovery.digest(f" {code.upper().replace('-', ' ')} ") == digest
        assert code not in digest


@given(st.text(max_size=80))
def test_any_text_is_a_recovery_code_or_is_not(text: str) -> None:
    found = recovery.digest(text)
    assert found is None or len(found) == 64


def test_what_is_sealed_opens_for_its_own_use_alone() -> None:
    sealer = Sealer(SecretStr("one"))
    sealed = sealer.seal(b"secret", "totp:12")
    assert b"secret" not in sealed
    assert sealer.open(sealed, "totp:12") == b"secret"
    assert sealer.seal(b"secret", "totp:12") != sealed
    for other, use, changed in (
        (sealer, "totp:13", sealed),
        (Sealer(SecretStr("two")), "totp:12", sealed),
        (sealer, "totp:12", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (sealer, "totp:12", b"\x02" + sealed[1:]),
        (sealer, "totp:12", sealed[:5]),
        (sealer, "totp:12", b""),
    ):
        with pytest.raises(CannotOpen):
            other.open(changed, use)
