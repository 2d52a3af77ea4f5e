"""Counters of rate limits in Redis, those of requests that come at the same time in one round trip."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import redis.asyncio
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from redis.exceptions import NoScriptError


class BatchedRedisStorage(RedisStorage):
    """The library's storage with its own script, which still runs once for each request and limit, whole each time.

    What comes while a batch is on its way makes the next one. So a busy process asks Redis as often as it can answer,
    and not for each request twice.

    Args:
        client: its pool is shared.
        prefix: of all keys.
    """

    MAX_BATCH = 256
    """Counts of one round trip."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        super().__init__(
            "redis://",
            implementation="redispy",
            key_prefix=prefix,
            connection_pool=client.connection_pool,  # type: ignore[arg-type] # documented, and missing in its types
        )
        self._client = client
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[bool]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count once, where there is room; whether there was.

        Raises:
            RedisError: Redis does not answer. It may have counted all the same.
        """
        keys = (self._previous_window_key(key), self._current_window_key(key))
        arguments = (2, *(self.bridge.prefixed_key(each) for each in keys), limit, expiry, amount)
        acquired: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, acquired))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="rate-limits")
        return await acquired

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self.MAX_BATCH], self._waiting[self.MAX_BATCH :]
            try:
                answers = await self._ask([arguments for arguments, _ in batch])
            except Exception as error:
                answers = [error] * len(batch)
            for (_, acquired), answer in zip(batch, answers, strict=True):
                if acquired.done():  # its request was cancelled
                    continue
                if isinstance(answer, Exception):
                    acquired.set_exception(answer)
                else:
                    acquired.set_result(bool(answer))

    async def _ask(self, batch: list[tuple[Any, ...]]) -> list[Any]:
        """What the script answered to each; an exception in the place of one that failed."""
        script = cast(RedispyBridge, self.bridge).lua_acquire_sliding_window
        answers = await self._evaluate(script.sha, batch)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # Redis is new, or was started anew: what it did not know, it did not run
            sha = str(await self._client.script_load(script.script))
            again = await self._evaluate(sha, [batch[place] for place in unknown])
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return answers

    async def _evaluate(self, sha: str, batch: list[tuple[Any, ...]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for arguments in batch:
                pipeline.execute_command("EVALSHA", sha, *arguments)
            return list(await pipeline.execute(raise_on_error=False))
