"""Refresh tokens: one family a session, in Redis, rotated with each use.

A token is ``ztr_<family>_<secret>``. Redis has SHA-256 of the secrets only (they have 256 bits, so that no slow hash
is needed), the family's current one and the spent ones; it forgets all of them after seven days.

Two tabs may present the same token at once, and an answer may get lost: whoever presents the token that was spent last,
within :data:`REUSE_WINDOW`, gets the same successor. It is not kept either: the successor's secret is an HMAC of a
random salt under its predecessor's secret, and Redis has the salt, for as long as the window. Who reads Redis cannot
make a token of it, and who has an old token cannot make a newer one.

A spent token that comes later was stolen, or its successor was: the family dies (RFC 9700, 4.14.2). A secret that never
was one of the family's does nothing: the family's id is in every access token, and must not be enough to end a session.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
import re
import secrets
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from redis.asyncio import Redis

LIFETIME = 604_800
"""Seconds: the architecture's seven days, from the sign-in on."""
REUSE_WINDOW = 10.0
"""Seconds in which a token that was just spent is answered with its successor."""
MAX_ROTATIONS = 5000
"""In one family. A client that refreshes every 15 minutes makes 672 of them in seven days."""

_TOKEN = re.compile(r"ztr_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")

# Everything is decided by Redis, in one step: of two requests at once, one is the first. Times are Redis's own.
#   KEYS: family, spent, salt
#   ARGV: presented digest, digest of its successor, successor's salt, window (ms), rotations that are too many
_ROTATE = """
local current = redis.call('HGET', KEYS[1], 'current')
if not current then return {'unknown'} end
local ttl = redis.call('TTL', KEYS[1])
if redis.call('HGET', KEYS[1], 'killed') then
  if current == ARGV[1] or redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return {'killed'} end
  return {'unknown'}
end
if current == ARGV[1] then
  if tonumber(redis.call('HINCRBY', KEYS[1], 'rotations', 1)) > tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[1], 'killed', 'worn')
    redis.call('DEL', KEYS[3])
    return {'worn'}
  end
  redis.call('HSET', KEYS[1], 'current', ARGV[2], 'last', ARGV[1])
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('EXPIRE', KEYS[2], ttl)
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
  return {'rotated', ARGV[3], ttl}
end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'unknown'} end
local salt = redis.call('GET', KEYS[3])
if salt and redis.call('HGET', KEYS[1], 'last') == ARGV[1] then return {'again', salt, ttl} end
redis.call('HSET', KEYS[1], 'killed', 'reuse')
redis.call('DEL', KEYS[3])
return {'killed'}
"""


class Outcome(enum.StrEnum):
    """What became of a token that was presented."""

    ROTATED = "rotated"
    AGAIN = "again"
    UNKNOWN = "unknown"
    """No token of a living family: expired, ended, or made up."""
    KILLED = "killed"
    """It was spent before: the family is dead, now or since an earlier time."""
    WORN = "worn"
    """More rotations than an honest client makes: the family is dead."""


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """What became of it, and its successor where there is one.

    Args:
        outcome: what became of it.
        token: the successor; empty where there is none.
        expires_in: seconds that the family has left.
    """

    outcome: Outcome
    token: str = ""
    expires_in: int = 0

    @property
    def ok(self) -> bool:
        """A successor is there."""
        return self.outcome in (Outcome.ROTATED, Outcome.AGAIN)


def family_of(token: str) -> uuid.UUID | None:
    """The family that a token names (it is also the session's id), or None where it is no token at all."""
    found = _TOKEN.fullmatch(token)
    return uuid.UUID(found[1]) if found else None


class RefreshFamilies:
    """Families of refresh tokens.

    Args:
        redis: of this service; decodes answers.
        prefix: of its keys, as its ACL allows: ``auth:``.
        window: seconds in which a token that was just spent is answered with its successor.
    """

    def __init__(self, redis: Redis, prefix: str, window: float = REUSE_WINDOW) -> None:
        self._redis = redis
        self._prefix = prefix
        self._window = window
        self._rotate = redis.register_script(_ROTATE)

    async def begin(self, family: uuid.UUID, lifetime: int = LIFETIME) -> str:
        """Begin a family, and return its first token.

        Args:
            family: the session's id.
            lifetime: seconds that the whole family lives.
        """
        secret = secrets.token_bytes(32)
        key = self._keys(family)[0]
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping={"current": _digest(secret), "rotations": 0})
            pipeline.expire(key, lifetime)
            await pipeline.execute()
        return _written(family, secret)

    async def rotate(self, token: str) -> Refreshed:
        """Spend a token, and return its successor; the same one to all who ask within the window."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return Refreshed(Outcome.UNKNOWN)
        family, secret = uuid.UUID(found[1]), _bytes(found[2])
        salt = secrets.token_hex(32)
        answer: list[Any] = await self._rotate(
            keys=list(self._keys(family)),
            args=[
                _digest(secret),
                _digest(_successor(secret, salt)),
                salt,
                max(1, round(self._window * 1000)),
                MAX_ROTATIONS,
            ],
        )
        outcome = Outcome(answer[0])
        if outcome not in (Outcome.ROTATED, Outcome.AGAIN):
            return Refreshed(outcome)
        return Refreshed(outcome, _written(family, _successor(secret, answer[1])), max(0, int(answer[2])))

    async def knows(self, token: str) -> bool:
        """Whether it is a token of a family that is there, be it spent; nothing changes."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return False
        family, spent, _ = self._keys(uuid.UUID(found[1]))
        digest = _digest(_bytes(found[2]))
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(family, "current")
            pipeline.sismember(spent, digest)
            current, was_one = await pipeline.execute()
        return bool(was_one) or (current is not None and hmac.compare_digest(current, digest))

    async def end(self, *families: uuid.UUID) -> None:
        """End families: their tokens are unknown from now on."""
        keys = [key for family in families for key in self._keys(family)]
        if keys:
            await self._redis.delete(*keys)

    def _keys(self, family: uuid.UUID) -> tuple[str, str, str]:
        name = family.hex
        return (f"{self._prefix}family:{name}", f"{self._prefix}spent:{name}", f"{self._prefix}salt:{name}")


def _successor(secret: bytes, salt: str) -> bytes:
    return hmac.digest(secret, b"zentoria refresh successor\0" + salt.encode(), "sha256")


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _written(family: uuid.UUID, secret: bytes) -> str:
    return f"ztr_{family.hex}_{urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=")
