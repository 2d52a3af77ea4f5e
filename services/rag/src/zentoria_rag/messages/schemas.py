"""What goes in and out of the routes of messages."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Said = Annotated[str, StringConstraints(min_length=1, max_length=200_000, pattern=r"^[^\x00]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Model):
    """What was said."""

    conversation_id: uuid.UUID
    text: Said


class Stored(_Model):
    """How many passages a message is."""

    passages: int


class Forgotten(_Model):
    """What was removed, and what is left."""

    rows: int
    left: int


class MessageSearch(_Model):
    """A question to what was said."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
    limit: Annotated[int, Field(ge=1, le=50)] = 5
    conversation_id: uuid.UUID | None = None


class MessageHit(_Model):
    """A passage of a message."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    text: str
    score: float
    words_score: float
    meaning_score: float


class MessageAnswer(_Model):
    """What was found, the best first."""

    hits: list[MessageHit]
    without: list[str] = []
