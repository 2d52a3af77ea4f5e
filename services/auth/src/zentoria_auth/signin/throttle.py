"""Who may try a password now: delays that grow, for each account and for each client address.

An account is not locked for good, nor can a stranger keep its owner out: an address from which the account was signed
in to during the last 30 days is counted by itself, apart from all the others. Passkeys are not counted by account at
all: nobody guesses them. And ``zentoria users reset`` takes every delay away.

An attempt is charged before the password is looked at, and given back when it was right: a hundred guesses at once are
a hundred charges. Everything is in Redis, and nobody signs in without it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

KNOWN_FOR = 30 * 86_400
"""Seconds for which an address is known to an account after a sign-in."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """How many attempts are free, and what the next ones cost.

    Args:
        free: attempts before the first delay.
        first: seconds of the first delay; each failure doubles it.
        longest: seconds of the longest.
        memory: seconds without an attempt after which all is forgotten.
    """

    free: int
    first: float
    longest: float
    memory: int


ACCOUNT = Limit(free=5, first=5, longest=900, memory=86_400)
"""From unknown addresses, all together: four guesses an hour in the long run."""
KNOWN = Limit(free=40, first=5, longest=300, memory=3600)
"""From one address that the account knows. Sign-ins that are on their way count until they are done."""
ADDRESS = Limit(free=100, first=1, longest=900, memory=3600)
"""From one address (IPv6: one /64), whichever accounts it tries."""

QUESTIONS = 200
"""Questions for a passkey, and devices that begin to wait, from one address in :data:`QUESTION_SECONDS`: each takes
memory until it is answered."""
QUESTION_SECONDS = 300

#   KEYS: buckets; ARGV: for each bucket free, first (ms), longest (ms), memory (ms)
#   Answer: 0, or how long the strictest bucket has to wait (ms), and whether this attempt began a delay.
_CHARGE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wait = 0
for i, key in ipairs(KEYS) do
  local till = tonumber(redis.call('HGET', key, 'until') or '0')
  if till - now > wait then wait = till - now end
end
if wait > 0 then return {wait, 0} end
local began = 0
for i, key in ipairs(KEYS) do
  local free, first, longest, memory = unpack(ARGV, 4 * i - 3, 4 * i)
  local count = redis.call('HINCRBY', key, 'count', 1)
  local over = count - tonumber(free)
  if over >= 0 then
    local delay = math.min(tonumber(first) * 2 ^ math.min(over, 30), tonumber(longest))
    redis.call('HSET', key, 'until', string.format('%d', now + delay))
    if over == 0 then began = 1 end
  end
  redis.call('PEXPIRE', key, memory)
end
return {0, began}
"""

#   KEYS: buckets; ARGV: for each bucket free
_GIVE_BACK = """
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    local count = redis.call('HINCRBY', key, 'count', -1)
    if count < tonumber(ARGV[i]) then redis.call('HDEL', key, 'until') end
    if count <= 0 then redis.call('DEL', key) end
  end
end
return 1
"""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt that was charged, or refused.

    Args:
        wait: seconds until the next one may be made; 0 where this one may.
        locked: this attempt was the last free one: a delay begins.
    """

    wait: float
    locked: bool
    buckets: tuple[tuple[str, Limit], ...] = ()

    @property
    def allowed(self) -> bool:
        """The password may be looked at."""
        return self.wait <= 0


def client_network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 client has all to itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False).network_address) + "/64"
    return str(found)


class Throttle:
    """Charges attempts.

    Args:
        redis: of this service; decodes answers.
        prefix: of its keys.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._charge = redis.register_script(_CHARGE)
        self._give_back = redis.register_script(_GIVE_BACK)

    async def attempt(self, account: str | None, address: str) -> Attempt:
        """Charge an attempt, unless one of its buckets has to wait.

        Args:
            account: normalised address of the account, whether there is such an account or not; None where the
                attempt is at none (a passkey, a link).
            address: the client's.
        """
        network = client_network(address)
        buckets: list[tuple[str, Limit]] = [(f"{self._prefix}tries:address:{network}", ADDRESS)]
        if account is not None:
            name = _name(account)
            if await self._redis.exists(self._known(name, network)):
                buckets.append((f"{self._prefix}tries:known:{name}:{network}", KNOWN))
            else:
                buckets.append((f"{self._prefix}tries:account:{name}", ACCOUNT))
        answer: list[Any] = await self._charge(
            keys=[key for key, _ in buckets], args=[each for _, limit in buckets for each in _arguments(limit)]
        )
        return Attempt(int(answer[0]) / 1000, bool(answer[1]), tuple(buckets))

    async def question(self, address: str) -> float:
        """Count a question for a passkey, or a device that begins to wait.

        Returns:
            Seconds to wait; 0 where it may be asked.
        """
        key = f"{self._prefix}tries:questions:{client_network(address)}"
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, QUESTION_SECONDS, nx=True)
            pipeline.ttl(key)
            count, _, left = await pipeline.execute()
        return 0.0 if count <= QUESTIONS else float(max(1, left))

    async def give_back(self, attempt: Attempt) -> None:
        """Take the charge back: nothing was guessed, the attempt goes on with a second factor."""
        await self._return(attempt.buckets)

    async def succeeded(self, attempt: Attempt, account: str, address: str) -> None:
        """Forget the account's failures, give the address its charge back, and know the address from now on."""
        name, network = _name(account), client_network(address)
        await self._return([each for each in attempt.buckets if each[1] is ADDRESS])
        async with self._redis.pipeline(transaction=True) as pipeline:
            for key, limit in attempt.buckets:
                if limit is not ADDRESS:
                    pipeline.delete(key)
            if network != "unknown":
                pipeline.set(self._known(name, network), "1", ex=KNOWN_FOR)
            await pipeline.execute()

    async def forget(self, account: str) -> None:
        """Take the account's own delay away; those of addresses that it knows end by themselves in minutes."""
        await self._redis.delete(f"{self._prefix}tries:account:{_name(account)}")

    async def _return(self, buckets: Sequence[tuple[str, Limit]]) -> None:
        if buckets:
            await self._give_back(keys=[key for key, _ in buckets], args=[limit.free for _, limit in buckets])

    def _known(self, name: str, network: str) -> str:
        return f"{self._prefix}known:{name}:{network}"


def _arguments(limit: Limit) -> tuple[int, int, int, int]:
    return (limit.free, round(limit.first * 1000), round(limit.longest * 1000), limit.memory * 1000)


def _name(account: str) -> str:
    return hashlib.sha256(account.encode(errors="replace")).hexdigest()[:32]
