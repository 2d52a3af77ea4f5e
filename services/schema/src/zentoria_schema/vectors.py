"""Models of the database zentoria_vectors: pieces of text, and where they lie for a model.

A row says which model and version made it. Only models that were announced by ``use_embedding_model`` can have rows,
each with its own number of dimensions and its own index, so that a new model is filled while the old one answers.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from zentoria_schema.names import NAMES

LIMIT = 2000
"""Dimensions that pgvector's HNSW takes of a ``vector`` at most."""


class Base(DeclarativeBase):
    """Of every table in zentoria_vectors."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class, and its own declaration is no ClassVar
        datetime: DateTime(timezone=True),
        str: Text,
        uuid.UUID: Uuid,
        dict[str, Any]: JSONB,
    }


class EmbeddingModel(Base):
    """A model that rows may be of. ``retired_at``: nothing new may be written for it."""

    __tablename__ = "embedding_models"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    dimension: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retired_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("model", "version", "dimension"),
        CheckConstraint(f"dimension between 1 and {LIMIT}", name="dimension"),
    )


def _of_a_model(table: str) -> tuple[ForeignKeyConstraint, Index]:
    return (
        ForeignKeyConstraint(
            ["model", "model_version", "dimension"],
            ["embedding_models.model", "embedding_models.version", "embedding_models.dimension"],
            name=f"fk_{table}_model",
        ),
        Index(f"ix_{table}_user_id", "user_id"),
    )


class DocumentEmbedding(Base):
    """A piece of a version of a file of ``user_id``."""

    __tablename__ = "document_embeddings"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4, server_default=sql("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(BigInteger)
    file_id: Mapped[uuid.UUID]
    file_version: Mapped[int] = mapped_column(server_default=sql("1"))
    chunk_index: Mapped[int]
    text: Mapped[str]
    page: Mapped[int | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))
    model: Mapped[str]
    model_version: Mapped[str]
    embedding: Mapped[Any] = mapped_column(Vector)
    dimension: Mapped[int] = mapped_column(Computed("vector_dims(embedding)", persisted=True))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        *_of_a_model("document_embeddings"),
        UniqueConstraint(
            "file_id", "file_version", "chunk_index", "model", "model_version", name="uq_document_embeddings_chunk"
        ),
    )


class ChatHistoryEmbedding(Base):
    """A piece of a message of ``user_id``."""

    __tablename__ = "chat_history_embeddings"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4, server_default=sql("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(BigInteger)
    conversation_id: Mapped[uuid.UUID] = mapped_column(index=True)
    message_id: Mapped[uuid.UUID]
    chunk_index: Mapped[int] = mapped_column(server_default=sql("0"))
    text: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))
    model: Mapped[str]
    model_version: Mapped[str]
    embedding: Mapped[Any] = mapped_column(Vector)
    dimension: Mapped[int] = mapped_column(Computed("vector_dims(embedding)", persisted=True))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        *_of_a_model("chat_history_embeddings"),
        UniqueConstraint(
            "message_id", "chunk_index", "model", "model_version", name="uq_chat_history_embeddings_chunk"
        ),
    )
