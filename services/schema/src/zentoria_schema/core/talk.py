"""Conversations with a model."""

from __future__ import annotations

import uuid

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, UniqueConstraint, text
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
    """What one side said. ``number`` counts from 1 in its conversation; ``parts`` holds what is not text."""

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
    error: Mapped[Json | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    __table_args__ = (
        same_owner("job_id", "jobs"),
        one_of("role", "user", "assistant", "system", "tool"),
        one_of("state", "streaming", "complete", "failed", "cancelled"),
        ForeignKeyConstraint(
            ["conversation_id", "user_id"], ["conversations.id", "conversations.user_id"], ondelete="CASCADE"
        ),
        UniqueConstraint("conversation_id", "number"),
    )
