"""What lives for minutes, in Redis: consent pages that are open, authorization codes, device codes.

Everything is found by the SHA-256 of a random value that only its holder has, so that a look into Redis gives nobody
a code that works.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

import redis.asyncio
from pydantic import BaseModel, ConfigDict

from zentoria_auth.oauth.requests import AuthorizationRequest

CODE_SECONDS = 60
REMEMBERED_SECONDS = 900
"""How long a used code is remembered: as long as the access token lives that was made of it."""
CONSENT_SECONDS = 600
DEVICE_SECONDS = 600
DEVICE_INTERVAL = 5
"""Seconds between two questions of a device (RFC 8628 section 3.5)."""
# No vowels, so that no words come about, and nothing that looks like something else (RFC 8628 section 6.1).
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH = 8

# A code may be used once, whoever comes: the count is raised before anything else is looked at.
_TAKE = (
    "local d = redis.call('HGET', KEYS[1], 'data') if not d then return {} end "
    "return {d, redis.call('HINCRBY', KEYS[1], 'uses', 1), redis.call('HGET', KEYS[1], 'sid') or ''}"
)
# Notes which session came of the code, and says how often the code was shown by then.
_SPENT = (
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end redis.call('HSET', KEYS[1], 'sid', ARGV[1]) "
    "return tonumber(redis.call('HGET', KEYS[1], 'uses'))"
)
# One question of a device: too early, or the state. An answer that is final is given once.
_POLL = """
local d = redis.call('HGET', KEYS[1], 'data')
if not d then return {} end
local now, wait = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'interval'))
local last = redis.call('HGET', KEYS[1], 'polled')
redis.call('HSET', KEYS[1], 'polled', ARGV[1])
if last and now - tonumber(last) < wait then
  redis.call('HSET', KEYS[1], 'interval', wait + tonumber(ARGV[2]))
  return {'early', ''}
end
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'pending' then redis.call('DEL', KEYS[1]) end
return {state, d}
"""
_DECIDE = (
    "if redis.call('HGET', KEYS[1], 'state') ~= 'pending' then return 0 end "
    "redis.call('HSET', KEYS[1], 'state', ARGV[1], 'data', ARGV[2]) return 1"
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Consent(_Value):
    """A consent page that was shown: in which session, and what it asked."""

    sid: str
    request: AuthorizationRequest


class Code(_Value):
    """What an authorization code stands for, and all that it is bound to."""

    request: AuthorizationRequest
    user_id: int
    grant_id: str
    scopes: tuple[str, ...]
    amr: tuple[str, ...]
    issued_at: float


class Device(_Value):
    """A device that waits for its user."""

    client_id: str
    scopes: tuple[str, ...]
    resource: str
    user_id: int | None = None
    grant_id: str | None = None
    amr: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class DeviceCodes:
    """What a device is told."""

    device_code: str
    user_code: str


@dataclasses.dataclass(frozen=True)
class Taken:
    """A code that was shown. ``uses`` over one: somebody had it before, and ``sid`` is the session that came of it."""

    code: Code
    uses: int
    sid: str | None


DeviceState = Literal["unknown", "early", "pending", "approved", "denied"]


class Tickets:
    """The tickets of one service.

    Args:
        client: Redis, answering with text.
        prefix: of all keys, as ``auth:oauth``.
        clock: seconds since the epoch.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._redis, self._prefix, self._clock = client, prefix, clock
        self._take = client.register_script(_TAKE)
        self._spent = client.register_script(_SPENT)
        self._poll = client.register_script(_POLL)
        self._decide = client.register_script(_DECIDE)

    def _key(self, kind: str, secret: str) -> str:
        return f"{self._prefix}:{kind}:{hashlib.sha256(secret.encode()).hexdigest()}"

    async def open_consent(self, consent: Consent) -> str:
        """Keep what a consent page asks; returns the value that the page's form carries."""
        secret = secrets.token_urlsafe(32)
        await self._redis.set(self._key("consent", secret), consent.model_dump_json(), ex=CONSENT_SECONDS)
        return secret

    async def take_consent(self, secret: str) -> Consent | None:
        """What the page asked; once."""
        text = await self._redis.getdel(self._key("consent", secret))
        return None if text is None else Consent.model_validate_json(text)

    async def make_code(self, code: Code) -> str:
        """Make an authorization code."""
        secret = secrets.token_urlsafe(32)
        key = self._key("code", secret)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping={"data": code.model_dump_json(), "uses": 0})
            pipeline.expire(key, CODE_SECONDS + REMEMBERED_SECONDS)
            await pipeline.execute()
        return secret

    async def take_code(self, secret: str) -> Taken | None:
        """Use a code. Whether it was used before, or is too old, the caller must look at."""
        found = await self._take(keys=[self._key("code", secret)])
        if not found:
            return None
        return Taken(Code.model_validate_json(found[0]), int(found[1]), found[2] or None)

    def is_fresh(self, code: Code) -> bool:
        """Whether it may still be used."""
        return self._clock() - code.issued_at < CODE_SECONDS

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def code_spent(self, secret: str, sid: str) -> bool:
        """Note the session that came of a code; False where it was shown again meanwhile."""
        return int(await self._spent(keys=[self._key("code", secret)], args=[sid])) == 1

    async def make_device(self, device: Device) -> DeviceCodes:
        """Keep a device that begins to wait."""
        device_code = secrets.token_urlsafe(32)
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(USER_CODE_LENGTH))
        key = self._key("device", device_code)
        async with self._redis.pipeline(transaction=True) as pipeline:
            fields: dict[Any, Any] = {
                "data": device.model_dump_json(),
                "state": "pending",
                "interval": DEVICE_INTERVAL,
            }
            pipeline.hset(key, mapping=fields)
            pipeline.expire(key, DEVICE_SECONDS)
            pipeline.set(self._key("user-code", user_code), key, ex=DEVICE_SECONDS)
            await pipeline.execute()
        return DeviceCodes(device_code, user_code)

    async def find_device(self, user_code: str) -> Device | None:
        """The device that shows this code, while it waits."""
        key = await self._redis.get(self._key("user-code", plain_user_code(user_code)))
        if key is None or await self._redis.hget(key, "state") != "pending":
            return None
        text = await self._redis.hget(key, "data")
        return None if text is None else Device.model_validate_json(text)

    async def decide_device(self, user_code: str, device: Device, *, approved: bool) -> bool:
        """Answer a device; False where it no longer waits."""
        key = await self._redis.getdel(self._key("user-code", plain_user_code(user_code)))
        if key is None:
            return False
        state = "approved" if approved else "denied"
        return bool(await self._decide(keys=[key], args=[state, device.model_dump_json()]))

    async def poll_device(self, device_code: str) -> tuple[DeviceState, Device | None]:
        """What a device is to be told. Each question that comes too early makes its interval longer."""
        found = await self._poll(keys=[self._key("device", device_code)], args=[self._clock(), DEVICE_INTERVAL])
        if not found:
            return "unknown", None
        state: DeviceState = found[0]
        return state, Device.model_validate_json(found[1]) if found[1] else None


def plain_user_code(typed: str) -> str:
    """A code as it is kept, of what a person typed: case, spaces and hyphens do not matter (RFC 8628 section 6.1)."""
    return "".join(character for character in typed[:64].upper() if character in _LETTERS)


def shown_user_code(code: str) -> str:
    """A code as a person reads it: ``WDJB-MJHT``."""
    return f"{code[:4]}-{code[4:]}"
