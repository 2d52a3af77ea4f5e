"""Who somebody is by the word of another, and which account that makes them. Decides; asks nobody."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zentoria_auth.accounts.rules import RuleError, normalise_email


class ProviderError(Exception):
    """A provider does not answer, or not as it should. The text is for logs: no code, token or address is in it."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a provider says.

    Args:
        provider: its name in our settings.
        issuer: what it calls itself.
        subject: the user's id there, which never goes to somebody else.
        email: an address, or None.
        email_verified: whether the provider knows that the address is the user's.
        name: for people.
        amr: how the user showed it there, as far as it says (RFC 8176).
    """

    provider: str
    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str = ""
    amr: tuple[str, ...] = ()


Reason = Literal["unknown", "unverified", "taken", "linked"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What follows: an account, new to this identity or not, or none and why."""

    user_id: int | None
    links: bool = False
    reason: Reason | None = None


def decide(
    claim: Claim,
    *,
    known: int | None,
    signed_in: int | None,
    by_address: int | None,
    has_other: bool,
) -> Decision:
    """Say whose identity this is.

    Nobody gets an account by signing in elsewhere, and an identity comes to one only over an address that the provider
    has verified, or by its user who is signed in.

    Args:
        claim: what the provider says.
        known: the account that has this identity.
        signed_in: the account that asked for the link, where this is one.
        by_address: the account with the claim's address.
        has_other: whether the account that would get it has another identity of the same provider: then an address that
            went to somebody else there would open it.
    """
    if known is not None:
        if signed_in is not None and signed_in != known:
            return Decision(None, reason="taken")
        return Decision(known)
    if signed_in is not None:
        return Decision(signed_in, links=True)
    if claim.email is None or not claim.email_verified:
        return Decision(None, reason="unverified")
    if by_address is None:
        return Decision(None, reason="unknown")
    if has_other:
        return Decision(None, reason="linked")
    return Decision(by_address, links=True)


def plain_address(value: object) -> str | None:
    """An address as accounts have it, or None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return normalise_email(value)
    except RuleError:
        return None
