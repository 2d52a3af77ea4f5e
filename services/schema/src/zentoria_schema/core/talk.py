"""Conversations with a model."""

from __future__ import annotations

import uuid

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Created, Json, JsonList, Moment, Owner, Updated, UuidKey, one_of, same_owner


class Conversation(Base):
    """A thread of messages."""

    __tablename__ = "conversations"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    title: Mapped[str] = mapped_column(server_default="")
    model: Mapped[str | None]
    attributes: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    archived_at: Mapped[Moment | None]
    deleted_at: Mapped[Moment | None]

    __table_args__ = (
        UniqueConstraint("id", "user_id"),  # for messages of the same owner
        Index("ix_conversations_user_id_updated_at", "user_id", "updated_at", "id"),
    )


class Message(Base):
    """What one side said. ``number`` counts from 1 in its conversation; ``parts`` holds what is not text.

    ``parent_id`` is the message that it follows: two that follow the same one are branches. ``attributes`` of an answer
    say with what it was asked for.
    """

    __tablename__ = "messages"

    id: Mapped[UuidKey]
    conversation_id: Mapped[uuid.UUID]
    user_id: Mapped[Owner] = mapped_column(index=True)
    number: Mapped[int]
    role: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="complete")
    content: Mapped[str] = mapped_column(server_default="")
    parts: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))
    sources: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))
    model: Mapped[str | None]
    tokens_in: Mapped[int | None]
    tokens_out: Mapped[int | None]
    job_id: Mapped[uuid.UUID | None]
    parent_id: Mapped[uuid.UUID | None]
    attributes: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    error: Mapped[Json | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    __table_args__ = (
        UniqueConstraint("id", "user_id"),  # for messages that follow one of the same owner
        same_owner("job_id", "jobs"),
        same_owner("parent_id", "messages"),
        one_of("role", "user", "assistant", "system", "tool"),
        one_of("state", "streaming", "complete", "failed", "cancelled"),
        ForeignKeyConstraint(
            ["conversation_id", "user_id"], ["conversations.id", "conversations.user_id"], ondelete="CASCADE"
        ),
        UniqueConstraint("conversation_id", "number"),
    )


class Memory(Base):
    """Something about its user that every answer may go by; the user reads and deletes it."""

    __tablename__ = "memories"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    text: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("length(text) between 1 and 2000", name="text"),
        Index("ix_memories_user_id_created_at", "user_id", "created_at", "id"),
    )
