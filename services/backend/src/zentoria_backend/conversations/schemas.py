"""Conversations as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

MAX_CONTENT = 100_000

Title = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["Holidays in Norway"])]
ModelName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:/-]+$", examples=["llama3.2:3b"])
]
Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT, pattern=r"^[^\x00]*$", examples=["When do the fjords thaw?"])
]


class NewConversation(BaseModel):
    """What a conversation begins with."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    model: ModelName | None = None


class ConversationChange(BaseModel):
    """What of a conversation shall be otherwise; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    archived: bool | None = None


class Conversation(BaseModel):
    """A conversation without its messages."""

    id: Annotated[UUID, Field(examples=["0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"])]
    title: str
    model: str | None
    archived: bool
    revision: Annotated[int, Field(description="grows with every change; the ETag")]
    created_at: datetime.datetime
    updated_at: datetime.datetime


class NewMessage(BaseModel):
    """What the user says."""

    model_config = ConfigDict(extra="forbid")

    content: Content


class Message(BaseModel):
    """What one side said."""

    id: UUID
    number: Annotated[int, Field(description="counts from 1 in its conversation")]
    role: Literal["user", "assistant", "system", "tool"]
    state: Literal["streaming", "complete", "failed", "cancelled"]
    content: str
    parts: Annotated[list[Any], Field(description="what is not text")]
    sources: Annotated[list[Any], Field(description="the documents that it goes by")]
    model: str | None
    parent_id: Annotated[UUID | None, Field(description="the message that it follows: two of one are branches")] = None
    attributes: Annotated[dict[str, Any], Field(description="how an answer was asked for")] = {}
    error: Annotated[dict[str, Any] | None, Field(description="a problem (RFC 9457), where the answer failed")] = None
    created_at: datetime.datetime


class Hit(BaseModel):
    """A message that a search found."""

    conversation_id: UUID
    title: Annotated[str, Field(description="of the conversation")]
    message_id: UUID
    number: int
    role: str
    excerpt: str
    created_at: datetime.datetime


class Export(BaseModel):
    """A whole conversation."""

    conversation: Conversation
    messages: list[Message]
