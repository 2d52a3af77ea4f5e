"""Short-lived addresses of contents: for viewers that open an address and send no credential."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "backend:content:"
SECONDS = 300
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclasses.dataclass(frozen=True)
class Pass:
    """What a ticket opens."""

    user_id: int
    file_id: UUID
    version: int


async def issue(client: Redis, opens: Pass, now: datetime.datetime) -> tuple[str, datetime.datetime]:
    """A ticket, and until when it is good. Redis keeps its hash alone.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    ticket = secrets.token_urlsafe(32)
    kept = {"user": opens.user_id, "file": str(opens.file_id), "version": opens.version}
    await client.set(_key(ticket), json.dumps(kept), ex=SECONDS)
    return ticket, now + datetime.timedelta(seconds=SECONDS)


async def look(client: Redis, ticket: str) -> Pass | None:
    """What a ticket opens; None: it is none, or too old.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    if not _FORM.fullmatch(ticket) or (text := await client.get(_key(ticket))) is None:
        return None
    kept = json.loads(text)
    return Pass(kept["user"], UUID(kept["file"]), kept["version"])


def _key(ticket: str) -> str:
    return PREFIX + hashlib.sha256(ticket.encode("ascii")).hexdigest()
