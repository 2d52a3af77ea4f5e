"""Browsers that are signed in to our own pages: a cookie with a session's id and a secret; Redis has its hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid

from redis.asyncio import Redis

LIFETIME = 12 * 3600
"""Seconds: a working day. Applications have sessions of their own, which live for seven days."""

_COOKIE = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")


class Browsers:
    """Cookies of browsers.

    Args:
        redis: of this service; decodes answers.
        prefix: of its keys.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def begin(self, sid: uuid.UUID) -> str:
        """Make the cookie of a new session."""
        secret = secrets.token_urlsafe(32)
        await self._redis.set(self._key(sid), _digest(secret), ex=LIFETIME)
        return f"{sid.hex}.{secret}"

    async def find(self, cookie: str) -> uuid.UUID | None:
        """The session that a cookie belongs to. Whether it has ended is the database's to say."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        sid = uuid.UUID(found[1])
        kept = await self._redis.get(self._key(sid))
        return sid if kept is not None and hmac.compare_digest(str(kept), _digest(found[2])) else None

    async def end(self, *sids: uuid.UUID) -> None:
        """Forget them."""
        if sids:
            await self._redis.delete(*(self._key(sid) for sid in sids))

    def _key(self, sid: uuid.UUID) -> str:
        return f"{self._prefix}browser:{sid.hex}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
