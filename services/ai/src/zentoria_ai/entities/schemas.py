"""What a sentence names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["file", "project", "person", "email", "date", "scope", "duration", "key", "workflow", "url"]


class Entity(BaseModel):
    """A thing that a text names: ``text`` is what stands there, from ``start`` to ``end``.

    ``value`` is what it means: a name; an address in lower case; ``{"since": ..., "until": ...}`` of a date (ISO 8601,
    the end is not part of it); ``{"days": 30}`` of a duration, with ``seconds``; a scope's name.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    text: str
    start: int
    end: int
    value: Any
