"""A string that does not show itself in repr, str, format or logs."""

from __future__ import annotations

from collections.abc import Iterable

HIDDEN = "**********"


class Secret:
    """Holds a secret; only :meth:`reveal` gives it back."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every one of ``secrets`` hidden; secrets under 4 characters are left alone.

    Shorter ones would turn ordinary words into stars, and Proxmox takes no password below 5.
    """
    for secret in sorted({one for one in secrets if len(one) >= 4}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
