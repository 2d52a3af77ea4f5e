"""Sign-ins that are on their way through a provider: what was asked, by which browser, and where it goes afterwards."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Self

import redis.asyncio
from pydantic import BaseModel, ConfigDict

LIFETIME = 600
"""Seconds that somebody may take at the provider."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Started(BaseModel):
    """One of them."""

    model_config = ConfigDict(frozen=True)

    provider: str
    browser: str
    """SHA-256 of the secret in the browser's cookie."""
    nonce: str
    verifier: str
    next: str
    link_for: int | None = None
    """The account that is signed in, where this is to link an identity to it."""

    @classmethod
    def make(cls, provider: str, browser: str, following: str, link_for: int | None) -> Self:
        """A new one, with a nonce and a PKCE verifier of its own."""
        return cls(
            provider=provider,
            browser=digest(browser),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            next=following,
            link_for=link_for,
        )


class Attempts:
    """Keeps them in Redis, under the hash of ``state``.

    Args:
        client: Redis, answering with text.
        prefix: of the keys, as ``auth:provider``.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._redis, self._prefix = client, prefix

    async def keep(self, started: Started) -> str:
        """Keep one, and return its ``state``."""
        state = secrets.token_urlsafe(32)
        await self._redis.set(self._key(state), started.model_dump_json(), ex=LIFETIME)
        return state

    async def take(self, state: str, provider: str, browser: str | None) -> Started | None:
        """The one with this ``state``, once, if it is this provider's and this browser's."""
        text = await self._redis.getdel(self._key(state)) if _SECRET.fullmatch(state) else None
        if text is None:
            return None
        started = Started.model_validate_json(text)
        if browser is None or started.provider != provider or started.browser != digest(browser):
            return None
        return started

    def _key(self, state: str) -> str:
        return f"{self._prefix}:{digest(state)}"


def browser_secret(kept: str | None) -> str:
    """What ties attempts to a browser: its cookie's value, or a new one."""
    return kept if kept is not None and _SECRET.fullmatch(kept) else secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
