"""One-use tickets for the WebSocket.

A browser cannot put a header on a WebSocket, and a cookie would be sent by any page that opens one. So who is signed in
asks for a ticket over HTTP, and opens the WebSocket with it: once, within half a minute.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING

from zentoria_backend.events.schemas import TOPICS, Topic

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "backend:ticket:"
SECONDS = 30
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclasses.dataclass(frozen=True)
class Admission:
    """What a ticket lets in.

    Args:
        user_id: whose events.
        topics: which of them.
        until: when the credential that asked for the ticket ends, in seconds since 1970: the WebSocket ends with it.
        sid: the session of that credential.
        key_id: the API key, where it is one.
        purpose: which WebSocket it opens.
    """

    user_id: int
    topics: frozenset[Topic]
    until: float
    sid: str | None = None
    key_id: str | None = None
    purpose: str = "events"


async def issue(client: Redis, admission: Admission) -> str:
    """Make a ticket. Redis keeps its hash alone.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    ticket = secrets.token_urlsafe(32)
    kept = {
        "user": admission.user_id, "topics": sorted(admission.topics), "until": admission.until, "sid": admission.sid,
        "key": admission.key_id, "purpose": admission.purpose,
    }  # fmt: skip
    await client.set(_key(ticket), json.dumps(kept), ex=SECONDS)
    return ticket


async def redeem(client: Redis, ticket: str, *, purpose: str = "events") -> Admission | None:
    """Take a ticket: it is gone afterwards, whoever asks first. None: there is no such ticket (any more).

    One that was made for another WebSocket is none.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    if not _FORM.fullmatch(ticket):
        return None
    text = await client.getdel(_key(ticket))
    if text is None:
        return None
    kept = json.loads(text)
    topics = frozenset(topic for topic in TOPICS if topic in kept["topics"])
    if kept.get("purpose", "events") != purpose:
        return None
    return Admission(kept["user"], topics, kept["until"], kept["sid"], kept["key"], purpose)


def _key(ticket: str) -> str:
    return PREFIX + hashlib.sha256(ticket.encode("ascii")).hexdigest()
