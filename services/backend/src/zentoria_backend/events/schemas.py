"""What an event is, and who may hear of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Topic = Literal["approvals", "conversations", "files", "jobs", "workflows"]
TOPICS: tuple[Topic, ...] = get_args(Topic)

SCOPES: Mapping[Topic, str] = {
    "approvals": "approvals:decide",
    "conversations": "chat:read",
    "files": "files:read",
    "jobs": "jobs:read",
    "workflows": "workflows:read",
}
"""The scope that a credential needs to hear of a topic: the one with which it could read the same by REST."""

_ID = re.compile(r"(\d{1,20})-(\d{1,20})")
_LARGEST = 2**64 - 1

START = "0-0"
"""Before every event: Redis gives no entry this id."""


def allowed(wanted: Iterable[Topic], scopes: Iterable[str]) -> frozenset[Topic]:
    """The topics of ``wanted`` that a credential with ``scopes`` may hear of."""
    has = frozenset(scopes)
    return frozenset(topic for topic in wanted if SCOPES[topic] in has)


def position(event_id: str) -> tuple[int, int]:
    """An id of a Redis stream (milliseconds and a sequence number) as numbers, which compare as the events came.

    Raises:
        ValueError: it is no such id.
    """
    match = _ID.fullmatch(event_id)
    if match is None or max(numbers := (int(match[1]), int(match[2]))) > _LARGEST:
        raise ValueError("an event's id looks like 1700000000000-0")
    return numbers


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of one user, as it is in the stream.

    Args:
        id: its place in the user's stream; a client that comes back names the last one that it saw.
        topic: what it is about.
        data: what happened, as JSON text: it is passed on as it is.
    """

    id: str
    topic: Topic
    data: str

    @property
    def time(self) -> str:
        """When it was published: RFC 3339, UTC, milliseconds."""
        moment = datetime.fromtimestamp(position(self.id)[0] / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ping(BaseModel):
    """What a client may say on the WebSocket: browsers cannot send its own pings."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["ping"]
    id: Annotated[str, Field(max_length=64)] | int | None = None


class TicketRequest(BaseModel):
    """Asks for a ticket."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"topics": ["jobs", "files"]}]})

    topics: Annotated[list[Topic], Field(max_length=len(TOPICS), min_length=1)] | None = None
    """What the WebSocket shall tell of; all that the credential may hear of, where it does not say."""
    purpose: Literal["events", "audio"] = "events"
    """Which WebSocket it opens: `/ws`, or `/ws/audio` (with the scope chat:write)."""


class Ticket(BaseModel):
    """Opens one WebSocket, once."""

    ticket: str
    expires_in: int
    """Seconds in which it must be used."""
    topics: list[Topic]
    url: str
    """Where to open the WebSocket, the ticket included."""


def envelope(event: Event) -> dict[str, Any]:
    """What surrounds the data of an event on the WebSocket; :func:`frame` puts the data in."""
    return {"type": "event", "id": event.id, "topic": event.topic, "time": event.time}
