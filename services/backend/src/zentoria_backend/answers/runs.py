"""Where an answer that is being written is: its events in a stream in Redis, so that any process can tell them.

Three keys stand beside the stream: ``alive`` says that some process writes it, ``heard`` that somebody listens,
``cancel`` that it shall stop. They are read by the process that writes it, whichever it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any
from uuid import UUID

from zentoria_common.tasks import ended

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "backend:answer:"
BLOCK_SECONDS = 2.0
"""How long one read waits for news."""
ALIVE_SECONDS = 10
"""Without a sign for so long, the process that wrote is dead."""
KEPT_SECONDS = 3600
"""For how long the events can be heard again; afterwards the message itself has what came of them."""
MOST_EVENTS = 50_000
ENDS = frozenset({"done", "error"})
"""Names of events after which none comes."""


class Stream:
    """The events of one answer.

    Args:
        client: Redis, with text answers.
        answer_id: whose they are.
    """

    def __init__(self, client: Redis, answer_id: UUID) -> None:
        self._client = client
        self._key = f"{PREFIX}{answer_id}"

    async def begin(self, grace: float) -> None:
        """Announce it, before anybody is told of it.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.set(f"{self._key}:alive", "1", ex=ALIVE_SECONDS)
            pipeline.set(f"{self._key}:heard", "1", px=round(grace * 1000))
            await pipeline.execute()

    async def add(self, name: str, data: dict[str, Any]) -> None:
        """Tell an event."""
        text = json.dumps(data, separators=(",", ":"), default=str)
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.xadd(self._key, {"name": name, "data": text}, maxlen=MOST_EVENTS, approximate=True)
            pipeline.expire(self._key, KEPT_SECONDS)
            await pipeline.execute()

    async def alive(self) -> None:
        """Say that it goes on."""
        await self._client.set(f"{self._key}:alive", "1", ex=ALIVE_SECONDS)

    async def is_alive(self) -> bool:
        """Whether somebody writes it."""
        return bool(await self._client.exists(f"{self._key}:alive"))

    async def over(self) -> None:
        """Say that nobody writes it any more."""
        await self._client.delete(f"{self._key}:alive", f"{self._key}:heard", f"{self._key}:cancel")

    async def hear(self, grace: float) -> None:
        """Say that somebody listens, or did until now."""
        await self._client.set(f"{self._key}:heard", "1", px=round(grace * 1000))

    async def cancel(self) -> None:
        """Ask whoever writes it to stop."""
        await self._client.set(f"{self._key}:cancel", "1", ex=KEPT_SECONDS)

    async def wishes(self) -> tuple[bool, bool]:
        """Whether somebody listens, and whether it shall stop."""
        heard, cancel = await self._client.mget(f"{self._key}:heard", f"{self._key}:cancel")
        return heard is not None, cancel is not None

    async def after(self, event_id: str, *, block: bool = True) -> list[tuple[str, str, str]]:
        """Events after one, as (id, name, JSON); with ``block``, waits a moment for the first."""
        if not block:
            kept: Any = await self._client.xrange(self._key, min=f"({event_id}")
            return [(str(one), fields["name"], fields["data"]) for one, fields in kept or ()]
        # protocol 3: a mapping, with the entries one level deeper
        found: Any = await self._client.xread({self._key: event_id}, count=500, block=round(BLOCK_SECONDS * 1000))
        entries = (entry for pages in (found or {}).values() for page in pages for entry in page)
        return [(str(one), fields["name"], fields["data"]) for one, fields in entries]


class Runs:
    """The answers that this process writes.

    Args:
        redis: a client whose reads may wait.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._tasks: set[asyncio.Task[None]] = set()

    def stream(self, answer_id: UUID) -> Stream:
        """The events of an answer."""
        return Stream(self.redis, answer_id)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Write an answer, after the request that asked for it."""
        task = asyncio.create_task(work, name="answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def count(self) -> int:
        """How many are being written here."""
        return len(self._tasks)

    @contextlib.asynccontextmanager
    async def run(self, patience: float) -> AsyncIterator[None]:
        """While the block runs, answers are written; at its end, those that take longer than ``patience`` seconds stop.

        Each says so to who listens, and keeps what it has.
        """
        try:
            yield
        finally:
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=patience)
            await ended(*self._tasks)
