"""Recovery codes: what gets somebody in whose phone is gone. Ten of them, each for one use, kept as hashes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

COUNT = 10
_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""Without what is mistaken for something else: 0 and o, 1 and i and l; without u, which makes words."""
_GROUPS, _GROUP = 4, 4
_LENGTH = _GROUPS * _GROUP
"""16 of 30 characters: 78 bits. No slow hash is needed: nobody tries 2^77 of them."""


def new_codes() -> tuple[str, ...]:
    """Ten new codes, as they are shown: ``k7mw-2f9c-...``."""
    return tuple(_one() for _ in range(COUNT))


def digest(code: str) -> str | None:
    """What is kept of a code, or None where ``code`` is none: case, spaces and dashes do not matter."""
    if len(code) > 4 * _LENGTH:
        return None
    plain = "".join(code.split()).replace("-", "").lower()
    if len(plain) != _LENGTH or not set(plain) <= set(_ALPHABET):
        return None
    return hashlib.sha256(b"zentoria recovery code\0" + plain.encode()).hexdigest()


def digests(codes: Sequence[str]) -> tuple[str, ...]:
    """The same of codes that :func:`new_codes` made."""
    return tuple(found for found in map(digest, codes) if found is not None)


def _one() -> str:
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)
