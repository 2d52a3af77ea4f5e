"""One reader of Redis for all who listen here.

Each process has one hub: one blocking read for the streams of all users who have a listener in this process. A listener
has a short queue of its own. When it is full because its client reads slowly, or when the client comes back with the id
of the last event that it saw, the listener reads the stream itself from there: nothing is lost, and no more than the
queue is ever in memory.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import redis.exceptions
import structlog
from zentoria_common.tasks import ended

from zentoria_backend.events import streams
from zentoria_backend.events.schemas import START, Event, Topic, position

if TYPE_CHECKING:
    from redis.asyncio import Redis

BACKLOG = 64
"""Events that wait for one listener before it has to read the stream itself."""
LONGEST_PAUSE = 5.0

_FAULTS = (redis.exceptions.RedisError, OSError)
_log = structlog.stdlib.get_logger("zentoria_backend.events")


class Listener:
    """Hears of one user's events, from a place in the stream on."""

    def __init__(self, client: Redis, user_id: int, topics: frozenset[Topic], last: str, *, behind: bool) -> None:
        self.user_id = user_id
        self.last = last
        """The id of the last event that was given out, or of one without interest after it."""
        self._client = client
        self._topics = topics
        self._queue: collections.deque[Event] = collections.deque()
        self._behind = behind
        self._news = asyncio.Event()
        self._closed = False

    def offer(self, event: Event) -> None:
        """Put an event into the queue; called by the hub."""
        if len(self._queue) >= BACKLOG:
            self._queue.clear()
            self._behind = True
        if not self._behind:
            self._queue.append(event)
        self._news.set()

    def close(self) -> None:
        """Let :meth:`events` end."""
        self._closed = True
        self._news.set()

    async def events(self) -> AsyncGenerator[Event]:
        """What happens, each event once and in order, until :meth:`close`. While Redis is away there is a pause."""
        pause = 0.1
        while not self._closed:
            self._news.clear()
            if self._behind:
                # from here on the hub queues again; what both have is passed over by its id
                self._queue.clear()
                self._behind = False
                try:
                    async for event in streams.after(self._client, self.user_id, self.last):
                        if self._passed(event):
                            yield event
                except _FAULTS:
                    self._behind = True
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load
                    pause = min(pause * 2, LONGEST_PAUSE)
                    continue
                pause = 0.1
            while self._queue and not self._behind:
                event = self._queue.popleft()
                if self._passed(event):
                    yield event
            if not self._queue and not self._behind:
                await self._news.wait()

    def _passed(self, event: Event) -> bool:
        if position(event.id) <= position(self.last):
            return False
        self.last = event.id
        return event.topic in self._topics


class Hub:
    """The reader, and who listens.

    Args:
        client: Redis, with text answers.
        block: how long one read waits for news, in seconds; less than the client's own time limit.
    """

    def __init__(self, client: Redis, *, block: float = 1.0) -> None:
        self._client = client
        self._block = max(1, round(block * 1000))
        self._listeners: dict[int, set[Listener]] = {}
        self._last: dict[int, str] = {}
        self._wake = f"{streams.PREFIX}wake:{uuid.uuid4().hex}"
        self._woken = START
        self._some = asyncio.Event()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Read for as long as the context is open."""
        reader = asyncio.create_task(self._read(), name="events-hub")
        try:
            yield
        finally:
            await ended(reader)

    @contextlib.asynccontextmanager
    async def listen(
        self, user_id: int, topics: frozenset[Topic], after: str | None = None
    ) -> AsyncIterator[tuple[Listener, bool]]:
        """Listen to a user's events.

        Args:
            user_id: whose.
            topics: only these.
            after: the last event that the client saw; None: from now on.

        Yields:
            The listener, and whether events after ``after`` may be missing.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
            ValueError: ``after`` is no id.
        """
        there = await streams.extent(self._client, user_id)
        missing = after is not None and there.misses_after(after)
        start = there.last if after is None or missing else after
        # `behind`: what comes between the look above and the hub's next read is read by the listener itself
        listener = Listener(self._client, user_id, topics, start, behind=True)
        listeners = self._listeners.setdefault(user_id, set())
        listeners.add(listener)
        try:
            if user_id not in self._last:
                self._last[user_id] = there.last
                self._some.set()
                await self._wake_up()
            yield listener, missing
        finally:
            listeners.discard(listener)
            if not listeners and self._listeners.get(user_id) is listeners:
                del self._listeners[user_id]
                self._last.pop(user_id, None)
                if not self._listeners:
                    self._some.clear()

    def listeners(self, user_id: int) -> int:
        """How many listen to a user's events here."""
        return len(self._listeners.get(user_id, ()))

    async def _wake_up(self) -> None:
        """End the read that is under way, so that the next one has the new user's stream."""
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.xadd(self._wake, {"w": "1"}, maxlen=1, approximate=False)
            pipeline.expire(self._wake, 60)
            await pipeline.execute()

    async def _read(self) -> None:
        pause = 0.1
        while True:
            await self._some.wait()
            names: dict[Any, Any] = {streams.key(user): last for user, last in self._last.items()}
            try:
                answer = await self._client.xread(
                    names | {self._wake: self._woken}, count=streams.PAGE, block=self._block
                )
            except _FAULTS as error:
                _log.warning("events not read", dependency="redis", error_type=type(error).__name__)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load, no secret
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = 0.1
            for name, entries in _pairs(answer):
                if name == self._wake:
                    self._woken = str(entries[-1][0])
                    continue
                self._deliver(int(name.removeprefix(streams.PREFIX)), entries)

    def _deliver(self, user_id: int, entries: list[Any]) -> None:
        if user_id not in self._last:
            return  # the last listener left while Redis was asked
        for entry in entries:
            event = streams.parsed(entry)
            self._last[user_id] = event.id
            for listener in self._listeners.get(user_id, ()):
                listener.offer(event)


def _pairs(answer: Any) -> list[tuple[str, list[Any]]]:
    """What XREAD gave: a mapping in the third version of Redis's protocol, with its entries one level deeper."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(str(name), [entry for page in pages for entry in page]) for name, pages in answer.items()]
    return [(str(name), entries) for name, entries in answer]
