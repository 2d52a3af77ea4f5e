"""A question as the gateway asks it, and the events of its answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from zentoria_ai.settings import ModelName

Text = Annotated[str, Field(max_length=100_000, pattern=r"^[^\x00]*$")]


class Turn(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["user", "assistant"]
    content: Text


class Question(BaseModel):
    """What is to be answered: the last message, which is the user's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    conversation_id: UUID | None = None
    message_id: UUID | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    model: ModelName | None = None
    documents: Literal["auto", "always", "never"] = "auto"
    filters: dict[str, Any] | None = None
    memory: Annotated[list[Text], Field(max_length=200)] = []
    attachments: Annotated[list[UUID], Field(max_length=50)] = []
    now: Annotated[str | None, Field(max_length=64)] = None


class Status(BaseModel):
    """What is being done."""

    event: Literal["status"] = "status"
    stage: Literal["searching", "reading", "writing", "waiting_model", "notice"]
    text: str


class TextDelta(BaseModel):
    """A piece of the answer."""

    event: Literal["delta"] = "delta"
    text: str


class Citation(BaseModel):
    """A sentence of the answer stands in a passage: ``start`` and ``end`` are offsets in the answer's text."""

    event: Literal["citation"] = "citation"
    n: int
    chunk_id: str
    file_id: str
    version: int
    sha256: str
    filename: str
    page: int | None
    boxes: list[list[float]]
    passage: str
    start: int
    end: int


class Dropped(BaseModel):
    """What did not fit, or could not be had, and why."""

    event: Literal["dropped"] = "dropped"
    what: str
    why: str


class Tokens(BaseModel):
    """Tokens of the call; ``counted`` is what was reckoned before it was sent."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: int = 0


class Source(BaseModel):
    """A document that the answer was made from."""

    n: int
    chunk_id: str
    file_id: str
    version: int
    sha256: str
    filename: str
    page: int | None


class Done(BaseModel):
    """The end. ``text`` is what counts, whatever was streamed."""

    event: Literal["done"] = "done"
    text: str
    model: str
    usage: Tokens = Tokens()
    refused: bool = False
    unsupported: list[tuple[int, int]] = []
    sources: list[Source] = []
    documents: bool = False
    """Whether it was made from documents."""
    cached: bool = False


class Failed(BaseModel):
    """The end, by a fault. What was streamed before stands; it is not whole."""

    event: Literal["error"] = "error"
    type: str
    title: str
    status: int = 503
    detail: str
    retry_after: int | None = None


Event = Status | TextDelta | Citation | Dropped | Done | Failed
