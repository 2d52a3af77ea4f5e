"""Passwords to hashes, in a pool that bounds what sign-ins cost the machine."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from zentoria_common.problems import Problem

from zentoria_auth.accounts.rules import check_new_password

# The minimum of the OWASP Password Storage Cheat Sheet for argon2id: 19 MiB, two passes, one lane. More memory would
# have to be bought with fewer sign-ins at a time: the pool holds WORKERS x 19 MiB at most.
TIME_COST = 2
MEMORY_KIB = 19 * 1024
LANES = 1
WORKERS = 2
MAX_WAITING = 64
"""How many may wait for a worker. More are sent away: they would wait for seconds, and each holds a request open."""

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a password's check found.

    Args:
        matches: the password belongs to the hash.
        outdated: it does, and the hash was made with other parameters than today's: hash the password anew.
    """

    matches: bool
    outdated: bool = False


class PasswordHasher:
    """argon2id in a bounded pool of threads (the library lets go of the interpreter while it works).

    Args:
        workers: how many hashes are computed at a time, 19 MiB each.
        max_waiting: how many more may wait.
    """

    def __init__(self, workers: int = WORKERS, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES, type=argon2.Type.ID
        )
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._places = workers + max_waiting
        self._taken = 0
        self._decoy = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Hash a password; the result says its own parameters and salt.

        Raises:
            Problem: 503, too many are waiting.
        """
        return await self._in_pool(self._hasher.hash, password)

    async def check(self, password: str, stored: str | None) -> Verdict:
        """Say whether ``password`` belongs to ``stored``.

        Where nothing is stored (no such account, or one without a password) it costs the same: a decoy is checked.

        Raises:
            Problem: 503, too many are waiting.
        """
        return await self._in_pool(self._check, password, stored)

    async def check_new(self, password: str, about: tuple[str, ...]) -> str:
        """Hold a new password against the rules, in the pool as well: that takes its time too.

        Raises:
            RuleError: it is not taken.
            Problem: 503, too many are waiting.
        """
        return await self._in_pool(functools.partial(check_new_password, password, about=about))

    def close(self) -> None:
        """Let the threads end, without waiting for what is queued."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, password: str, stored: str | None) -> Verdict:
        try:
            self._hasher.verify(stored or self._decoy, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return Verdict(matches=False)
        if stored is None:
            return Verdict(matches=False)
        return Verdict(matches=True, outdated=self._hasher.check_needs_rehash(stored))

    async def _in_pool(self, work: Callable[..., _Result], *arguments: str | None) -> _Result:
        if self._taken >= self._places:
            raise Problem(503, "too many sign-ins at once: try again shortly", headers={"retry-after": "2"})
        self._taken += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        # Counted until the thread is done with it: a caller that gave up has freed nothing yet.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[_Result]) -> None:
        self._taken -= 1
        if not future.cancelled():
            future.exception()  # retrieved: the caller may be gone
