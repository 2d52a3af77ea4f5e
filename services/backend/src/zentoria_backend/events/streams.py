"""The stream of each user in Redis: written by whoever has news, read by id, cut to its last thousand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import redis.exceptions
import structlog

from zentoria_backend.events.schemas import START, TOPICS, Event, Topic, position

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "backend:events:"
KEPT = 1000
"""About how many events of a user are kept (Redis cuts whole nodes of its list: never fewer)."""
KEPT_SECONDS = 7 * 86400
MAX_BYTES = 32 * 1024
PAGE = 100

_log = structlog.stdlib.get_logger("zentoria_backend.events")


def key(user_id: int) -> str:
    """The name of the user's stream."""
    return f"{PREFIX}{user_id}"


async def publish(client: Redis, user_id: int, topic: Topic, payload: dict[str, Any]) -> str | None:
    """Tell a user that something happened.

    Events are news, not the state: who misses one asks for the state again. So a Redis that is away never fails what
    the caller was doing; it is logged.

    Args:
        client: Redis, with text answers.
        user_id: whose news it is; nobody else hears it.
        topic: what it is about.
        payload: JSON, at most 32 KiB; no secrets, and ids rather than contents.

    Returns:
        The event's id, or None where Redis did not take it.

    Raises:
        ValueError: the payload is too large, or the topic is none.
    """
    text = json.dumps(payload, separators=(",", ":"), default=str, allow_nan=False)
    if topic not in TOPICS:
        raise ValueError(f"{topic!r} is none of the topics {', '.join(TOPICS)}")
    if len(text) > MAX_BYTES:  # ASCII: characters are bytes
        raise ValueError(f"an event of {len(text)} bytes: at most {MAX_BYTES} fit")
    try:
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.xadd(key(user_id), {"topic": topic, "data": text}, maxlen=KEPT, approximate=True)
            pipeline.expire(key(user_id), KEPT_SECONDS)
            added, _ = await pipeline.execute()
    except (redis.exceptions.RedisError, OSError) as error:
        _log.warning("event not published", dependency="redis", error_type=type(error).__name__)
        return None
    return str(added)


@dataclasses.dataclass(frozen=True)
class Extent:
    """What a stream holds.

    Args:
        first: id of the oldest event that is kept; None where there is none.
        last: id of the newest that there ever was.
        cut: whether older ones were there.
    """

    first: str | None
    last: str
    cut: bool

    def misses_after(self, event_id: str) -> bool:
        """Whether events after ``event_id`` may be gone: cut off, or lost with the stream itself."""
        if position(event_id) > position(self.last):
            return True
        return self.cut and (self.first is None or position(event_id) < position(self.first))


async def extent(client: Redis, user_id: int) -> Extent:
    """Look at the user's stream.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    try:
        told = await client.xinfo_stream(key(user_id))
    except redis.exceptions.ResponseError as error:
        if "no such key" in str(error):
            return Extent(None, START, cut=False)
        raise
    first = told["first-entry"]
    return Extent(
        first=str(first[0]) if first else None,
        last=str(told["last-generated-id"]),
        cut=int(told["entries-added"]) > int(told["length"]),
    )


async def after(client: Redis, user_id: int, event_id: str) -> AsyncGenerator[Event]:
    """The events after one, oldest first, a page at a time.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    while True:
        entries = await client.xrange(key(user_id), min=f"({event_id}", count=PAGE) or []
        for entry in entries:
            event = parsed(entry)
            event_id = event.id
            yield event
        if len(entries) < PAGE:
            return


def parsed(entry: Any) -> Event:
    """An entry as redis-py gives it (id and fields) as an event."""
    event_id, fields = entry
    return Event(str(event_id), fields["topic"], fields["data"])
