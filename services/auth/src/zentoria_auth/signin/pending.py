"""Sign-ins that wait for their second step: who it would be, kept in Redis under a token that the client holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets

from redis.asyncio import Redis

LIFETIME = 300
"""Seconds for the second step."""
_MAX_TOKEN = 100


@dataclasses.dataclass(frozen=True)
class Pending:
    """What the first step found.

    Args:
        user_id: whose sign-in it is.
        email: the account's address.
        amr: what was shown so far.
    """

    user_id: int
    email: str
    amr: tuple[str, ...]


class PendingSteps:
    """Keeps them.

    Args:
        redis: of this service; decodes answers.
        prefix: of its keys.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def begin(self, pending: Pending) -> str:
        """Keep one, and return its token."""
        token = secrets.token_urlsafe(32)
        await self._redis.set(self._key(token), json.dumps(dataclasses.asdict(pending)), ex=LIFETIME)
        return token

    async def find(self, token: str) -> Pending | None:
        """The one with that token, while it waits."""
        kept = await self._redis.get(self._key(token)) if 0 < len(token) <= _MAX_TOKEN else None
        if kept is None:
            return None
        values = json.loads(kept)
        return Pending(values["user_id"], values["email"], tuple(values["amr"]))

    async def finish(self, token: str) -> bool:
        """It is done; False where somebody else was quicker."""
        return bool(await self._redis.delete(self._key(token)))

    def _key(self, token: str) -> str:
        return f"{self._prefix}pending:{hashlib.sha256(token.encode(errors='replace')).hexdigest()}"
