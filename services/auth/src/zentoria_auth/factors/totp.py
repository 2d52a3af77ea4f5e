"""One-time codes by time (RFC 6238): 6 digits, 30 seconds, SHA-1, which is what authenticator apps know."""

from __future__ import annotations

import hmac
import re

import pyotp

INTERVAL = 30
SECRET_CHARACTERS = 32
"""Base32: 160 bits, as RFC 4226 recommends."""
DRIFT_STEPS = 1
"""Steps that a clock may be off, either way (RFC 6238, 5.2)."""

_CODE = re.compile(r"[0-9]{6}")


def new_secret() -> str:
    """A new secret, in Base32."""
    return pyotp.random_base32(SECRET_CHARACTERS)


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step for which ``code`` is right, or None.

    The caller remembers the step, and takes none that is not later: a code that was seen over a shoulder, or went
    through a false page, is of no use a second time (RFC 6238, 5.2).

    Args:
        secret: in Base32.
        code: as typed; spaces between its digits do not matter.
        now: seconds since the epoch.
    """
    digits = "".join(code.split())
    if not digits.isascii() or not _CODE.fullmatch(digits):
        return None
    generator = pyotp.TOTP(secret, interval=INTERVAL)
    current = int(now) // INTERVAL
    found = None
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        # All of them, whichever is right: the time says nothing.
        if hmac.compare_digest(generator.generate_otp(step), digits) and found is None:
            found = step
    return found


def uri(secret: str, account: str, issuer: str) -> str:
    """The ``otpauth:`` address that an app reads from a QR code."""
    return pyotp.TOTP(secret, interval=INTERVAL).provisioning_uri(name=account, issuer_name=issuer)
