"""What goes in and out of the routes of search."""

from __future__ import annotations

import datetime
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from zentoria_rag.documents.schemas import Chunk, Short

Words = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilterWishes(_Model):
    """What documents have to be."""

    file_ids: Annotated[list[uuid.UUID], Field(max_length=1000)] = []
    project: Short | None = None
    mimes: Annotated[list[Short], Field(max_length=50)] = []
    tags: Annotated[list[Short], Field(max_length=50)] = []
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None


class Turn(BaseModel):
    """What was said before."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: str
    content: str


class SearchRequest(_Model):
    """A question."""

    query: Words
    limit: Annotated[int, Field(ge=1, le=50)] = 5
    mode: Literal["hybrid", "words", "meaning"] = "hybrid"
    filters: FilterWishes = FilterWishes()
    conversation: Annotated[list[Turn], Field(max_length=200)] = []
    now: datetime.datetime | None = None
    """By which "last month" is meant; without it, the clock's time in UTC."""


class Hit(Chunk):
    """A passage that was found: its place in the whole (1 is the best there can be), by words, and by meaning."""

    score: float
    words_score: float
    meaning_score: float


class SearchAnswer(_Model):
    """The passages, the best first.

    ``understood`` is what was read out of the words (``since``, ``until``, ``span``, ``text``, ``query``); ``best`` how
    well the best of them support an answer, and ``supported`` whether that is enough; ``without`` what could not be
    asked now.
    """

    hits: list[Hit]
    understood: dict[str, Any]
    best: float
    supported: bool
    without: list[str] = []
