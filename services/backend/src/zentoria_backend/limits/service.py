"""Rate limits: how often an address, a user and a key may ask; counted in Redis, so that all workers count together."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Sequence

import redis.asyncio
import redis.exceptions
import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import RateLimiter, SlidingWindowCounterRateLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from starlette.requests import HTTPConnection
from zentoria_common.problems import Problem, Unavailable

from zentoria_backend.access.context import current_client
from zentoria_backend.access.expiring import Expiring
from zentoria_backend.access.principal import Principal
from zentoria_backend.limits.storage import BatchedRedisStorage
from zentoria_backend.settings import Quotas

_log = structlog.stdlib.get_logger("zentoria_backend.limits")


@dataclasses.dataclass(frozen=True)
class Policy:
    """So many requests in so many seconds, under a name that clients see."""

    name: str
    amount: int
    seconds: int

    @property
    def item(self) -> RateLimitItem:
        """The same in the library's words."""
        return RateLimitItemPerSecond(self.amount, self.seconds, namespace=self.name)


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a policy stands for one client after a request."""

    policy: Policy
    admitted: bool
    remaining: int
    reset: int


@dataclasses.dataclass
class _Left:
    """What ``RateLimit`` says of a client; refusals do not go by it."""

    remaining: int
    reset_time: float


def _seconds(reset_time: float, policy: Policy) -> int:
    return min(max(1, math.ceil(reset_time - time.time())), policy.seconds)


class Limiter:
    """Counts requests.

    While Redis is away, each process counts for itself, and sign-in is closed (:meth:`sign_in`).

    Args:
        client: of Redis; its pool is shared.
        prefix: of all keys, which the service's rights at Redis are for.
        quotas: from the settings.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str, quotas: Quotas) -> None:
        self._shared: RateLimiter = SlidingWindowCounterRateLimiter(BatchedRedisStorage(client, f"{prefix}:limits"))
        self._own: RateLimiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._left: Expiring[_Left] = Expiring(1.0)
        self._breakers = AsyncCircuitBreakerFactory(3, 2, exclude=[asyncio.CancelledError])
        self.address = Policy("address", quotas.address, 60)
        self.user = Policy("user", quotas.user, 60)
        self.key = Policy("key", quotas.key, 60)
        self.failures = Policy("failures", quotas.failures, 60)
        self.sign_in_address = Policy("sign-in", quotas.sign_in, 60)

    async def admit(self, connection: HTTPConnection, principal: Principal | None) -> None:
        """Count a request against its address, or against its user and credential.

        Raises:
            Problem: 429.
        """
        if principal is None:
            counted = [(self.address, current_client().network)]
        else:
            counted = [(self.user, str(principal.user_id))]
            if principal.kind != "session":
                # A program's id is the same for all who use it: none of them uses up what the others have.
                counted.append((self.key, f"{principal.user_id} {principal.actor}"))
        self._refuse(connection, await self._count(counted))

    async def failed(self, connection: HTTPConnection) -> None:
        """Count a credential that was not good.

        Raises:
            Problem: 429, the address tries many.
        """
        self._refuse(connection, await self._count([(self.failures, current_client().network)]))

    async def sign_in(self, connection: HTTPConnection) -> None:
        """Count an attempt to sign in, against its address.

        Not against the account: a stranger who tries it from elsewhere would shut its owner out. How often all
        addresses together may try one is the auth service's to judge, which knows those of earlier sign-ins.

        Raises:
            Problem: 429.
            Unavailable: Redis is away. Guessing without a count is worse than nobody signing in.
        """
        self._refuse(connection, await self._count([(self.sign_in_address, current_client().network)], closed=True))

    async def _count(self, counted: Sequence[tuple[Policy, str]], *, closed: bool = False) -> list[Standing]:
        try:
            async with await self._breakers.get_breaker("redis"):
                return await self._hits(self._shared, counted)
        except (redis.exceptions.RedisError, OSError, OpenedState) as error:
            if closed:
                raise Unavailable("redis", "nobody can sign in while attempts cannot be counted") from error
            if not isinstance(error, OpenedState):
                _log.warning("rate limits are counted by each process alone", error=type(error).__qualname__)
            return await self._hits(self._own, counted)

    async def _hits(self, limiter: RateLimiter, counted: Sequence[tuple[Policy, str]]) -> list[Standing]:
        return list(await asyncio.gather(*(self._hit(limiter, policy, who) for policy, who in counted)))

    async def _hit(self, limiter: RateLimiter, policy: Policy, who: str) -> Standing:
        """Count one request. How many are left is asked for once a second, and counted on in between."""
        item = policy.item
        if not await limiter.hit(item, who):
            stats = await limiter.get_window_stats(item, who)
            return Standing(policy, admitted=False, remaining=0, reset=_seconds(stats.reset_time, policy))
        kept = self._left.get(f"{policy.name} {who}")
        if kept is None:
            stats = await limiter.get_window_stats(item, who)
            kept = _Left(stats.remaining, stats.reset_time)
            self._left.put(f"{policy.name} {who}", kept)
        else:
            kept.remaining = max(0, kept.remaining - 1)
        return Standing(policy, admitted=True, remaining=kept.remaining, reset=_seconds(kept.reset_time, policy))

    def _refuse(self, connection: HTTPConnection, standings: Sequence[Standing]) -> None:
        headers = header_fields(standings)
        connection.state.rate_limit = {**getattr(connection.state, "rate_limit", {}), **headers}
        over = [each for each in standings if not each.admitted]
        if over:
            wait = max(each.reset for each in over)
            raise Problem(
                429,
                f"more than {over[0].policy.amount} requests in {over[0].policy.seconds} s: wait {wait} s",
                kind="rate-limited",
                headers={"retry-after": str(wait), **headers},
                policies=[each.policy.name for each in over],
            )


def header_fields(standings: Sequence[Standing]) -> dict[str, str]:
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
    return {
        "ratelimit-policy": ", ".join(
            f'"{each.policy.name}";q={each.policy.amount};w={each.policy.seconds}' for each in standings
        ),
        "ratelimit": ", ".join(f'"{each.policy.name}";r={each.remaining};t={each.reset}' for each in standings),
    }
