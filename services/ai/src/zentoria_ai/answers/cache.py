"""Answers that were made from the same words, passages and model, kept for a while in Redis."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import redis.asyncio
import redis.exceptions
import structlog

from zentoria_ai.engine.model import Message

_log = structlog.stdlib.get_logger("zentoria_ai.answers")


class AnswerCache:
    """Keeps texts. Redis away, or full: it keeps none, and nobody waits for it.

    Args:
        client: of Redis; None keeps nothing.
        prefix: of its keys: the container's name, which its rights are for.
        seconds: how long; 0 keeps nothing.
    """

    def __init__(self, client: redis.asyncio.Redis | None, prefix: str, seconds: int) -> None:
        self._client, self._prefix, self._seconds = client, prefix, seconds

    def key(self, user_id: int, model: str, messages: Sequence[Message], max_tokens: int) -> str:
        """The key of a call: whole prompts are in it, and the user, so that no one's answer is another's."""
        said = json.dumps([user_id, model, max_tokens, [one.as_json() for one in messages]], sort_keys=True)
        return f"{self._prefix}:answer:{hashlib.sha256(said.encode()).hexdigest()}"

    async def get(self, key: str) -> str | None:
        """The text, where it is kept."""
        if self._client is None or not self._seconds:
            return None
        try:
            found = await self._client.get(key)
        except (redis.exceptions.RedisError, OSError) as error:
            _log.warning("cache does not answer", error=type(error).__qualname__)
            return None
        return str(found) if found is not None else None  # the client decodes

    async def put(self, key: str, text: str) -> None:
        """Keep a text."""
        if self._client is None or not self._seconds or not text:
            return
        try:
            await self._client.set(key, text, ex=self._seconds)
        except (redis.exceptions.RedisError, OSError) as error:
            _log.warning("cache does not answer", error=type(error).__qualname__)
