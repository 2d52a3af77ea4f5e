"""Passwords and addresses: which are taken, and as what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zentoria_auth.accounts.rules import (
    MAX_EMAIL,
    RuleError,
    check_new_password,
    normalise_email,
    normalise_password,
)


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "jfk29slq83hd", "Größenwahn im Apfelkuchen", "密码是一只安静的橘猫在屋顶上看月亮"],
)
def test_long_and_unusual_is_taken(password: str) -> None:
    assert check_new_password(password, about=("anna@example.org", "Anna Example"))


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "at least 12"),
        ("s7K!x2", "at least 12"),
        ("Passw0rd!2026", "easy to guess"),
        ("qwertyuiop12", "easy to guess"),
        ("aaaaaaaaaaaaaaaaaaaaaa", "easy to guess"),
        ("zentoria12345", "easy to guess"),
        ("anna@example.org1", "easy to guess"),
        ("a" * 257, "at most 256"),
        ("tabs\tare not text at all", "control"),
        ("half a surrogate \ud800 pair", "control"),
    ],
)
def test_what_attackers_try_first_is_refused_and_not_repeated(password: str, why: str) -> None:
    with pytest.raises(RuleError, match=why) as caught:
        check_new_password(password, about=("anna@example.org", "Anna Example"))
    assert not password or password not in str(caught.value)


def test_one_password_from_two_keyboards_is_the_same() -> None:
    assert normalise_password("Gro\u0308\u00dfe \ufb01n") == normalise_password("Gr\u00f6\u00dfe fin")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Anna@Example.ORG", "anna@example.org"),
        ("  anna@example.org ", "anna@example.org"),
        ("anna@BÜCHER.example", "anna@xn--bcher-kva.example"),
        ("anna@home.local", "anna@home.local"),
        ("owner@localhost", "owner@localhost"),
        ("Zoe\u0308@example.org", "zo\u00eb@example.org"),
        ("анна@example.org", "анна@example.org"),
    ],
)
def test_an_address_has_one_form(given: str, kept: str) -> None:
    assert normalise_email(given) == kept


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "anna", "anna@", "@example.org", "a b@example.org", "a@b@example.org", "anna@example..org",
        "anna@example.org\r\nBcc: eve@evil.test", "anna\u200b@example.org", "anna@exam\u202eple.org",
        '"anna eve"@example.org', "anna@[127.0.0.1]", "anna@example.org\x00", "a" * 300 + "@example.org",
        "a b@home.local", "\u212aelvin@example.org", "\uff41nna@example.org", "stra\u00dfe@example.org",
        "\ufb01n@example.org",
    ],
)  # fmt: skip
def test_what_is_no_address_or_looks_like_another_is_refused(address: str) -> None:
    with pytest.raises(RuleError):
        normalise_email(address)


@given(st.one_of(st.emails(), st.text(max_size=50), st.text(max_size=20).map(lambda text: f"{text}@example.org")))
def test_the_form_of_an_address_is_its_own_form(address: str) -> None:
    try:
        kept = normalise_email(address)
    except RuleError:
        return
    assert normalise_email(kept) == kept
    assert len(kept) <= MAX_EMAIL
    assert kept.isprintable()
    # Nobody gets the account of an ASCII address by one that is written with other letters.
    local = address.strip().rpartition("@")[0]
    assert local.isascii() or not kept.rpartition("@")[0].isascii()
