"""Answers to writes, kept in Redis for who asks again. Each can be read only with the key that it was asked with."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json

import redis.asyncio
import redis.exceptions
from cryptography.fernet import Fernet, InvalidToken
from zentoria_common.problems import Unavailable

KEPT_SECONDS = 24 * 3600
RUNNING_SECONDS = 120
"""How long a request that never ended (its process died) stands in the way of a second one."""

_RUNNING = "running"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer, and which request it belongs to.

    Args:
        fingerprint: of the request: method, path, query, body.
        status: of HTTP.
        headers: those that belong to the answer itself.
        body: whole.
    """

    fingerprint: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Running(Exception):
    """The same request is at work at this moment."""


class Store:
    """Answers by credential and key.

    An answer may hold a secret (a new API key is shown once), and a request a password. What is kept is therefore
    encrypted with a key that is made from the client's: Redis knows a hash of that one only.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def begin(self, who: str, key: str) -> Answer | None:
        """Begin a request, or get the answer that it was given before.

        Args:
            who: the credential.
            key: the client's.

        Raises:
            Running: it has begun already, and has no answer yet.
            Unavailable: Redis does not answer. Doing it twice is what the client wants to be spared.
        """
        name = self._name(who, key)
        try:
            if await self._client.set(name, _RUNNING, nx=True, ex=RUNNING_SECONDS):
                return None
            kept = await self._client.get(name)
        except (redis.exceptions.RedisError, OSError) as error:
            raise Unavailable("redis", "what was done before cannot be looked up") from error
        if kept is None or kept == _RUNNING:
            raise Running
        try:
            loaded = json.loads(self._seal(key).decrypt(kept))
        except (InvalidToken, ValueError):  # another release's form: nobody knows what was answered
            raise Running from None
        headers = [(str(header), str(value)) for header, value in loaded["headers"]]
        return Answer(loaded["fingerprint"], loaded["status"], headers, base64.b64decode(loaded["body"]))

    async def end(self, who: str, key: str, answer: Answer | None) -> None:
        """Keep the answer; None: the request may be tried again. Redis being away is no error any more."""
        name = self._name(who, key)
        try:
            if answer is None:
                await self._client.delete(name)
                return
            whole = dataclasses.asdict(answer) | {"body": base64.b64encode(answer.body).decode()}
            await self._client.set(name, self._seal(key).encrypt(json.dumps(whole).encode()).decode(), ex=KEPT_SECONDS)
        except (redis.exceptions.RedisError, OSError):
            return

    def _name(self, who: str, key: str) -> str:
        both = hashlib.sha256(f"{who}\n{key}".encode()).hexdigest()
        return f"{self._prefix}:idempotency:{both}"

    @staticmethod
    def _seal(key: str) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"zentoria idempotency\n{key}".encode()).digest()))
