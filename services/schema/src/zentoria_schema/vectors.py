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
    ARRAY,
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
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
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
    """A model that rows may be of.

    ``activated_at``: it is the one that questions are answered with. ``retired_at``: nothing new is written for it.
    """

    __tablename__ = "embedding_models"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    dimension: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retired_at: Mapped[datetime | None]
    activated_at: Mapped[datetime | None]

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


class Document(Base):
    """A version of a file of ``user_id``: what was read of it, and whether it is the one that is searched."""

    __tablename__ = "documents"

    file_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    file_version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    filename: Mapped[str]
    mime: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    project: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    made_at: Mapped[datetime]
    title: Mapped[str | None]
    language: Mapped[str] = mapped_column(server_default=sql("'simple'"))
    state: Mapped[str] = mapped_column(server_default=sql("'reading'"))
    current: Mapped[bool] = mapped_column(server_default=sql("false"))
    pages: Mapped[list[Any]] = mapped_column(JSONB, server_default=sql("'[]'"))
    outcome: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("file_id", "file_version", "user_id", name="uq_documents_owner"),
        CheckConstraint("state in ('reading', 'ready', 'failed')", name="state"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("not current or state = 'ready'", name="current"),
        Index("ix_documents_user_id", "user_id", "sha256"),
        Index("uq_documents_current", "file_id", unique=True, postgresql_where=sql("current")),
    )


class DocumentChunk(Base):
    """A passage of a document, with its words as PostgreSQL's stemmer has them."""

    __tablename__ = "document_chunks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    file_id: Mapped[uuid.UUID]
    file_version: Mapped[int]
    chunk_index: Mapped[int]
    page: Mapped[int | None]
    heading: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    boxes: Mapped[list[Any]] = mapped_column(JSONB, server_default=sql("'[]'"))
    text: Mapped[str]
    language: Mapped[str] = mapped_column(server_default=sql("'simple'"))
    words: Mapped[Any] = mapped_column(TSVECTOR)

    __table_args__ = (
        ForeignKeyConstraint(
            ["file_id", "file_version", "user_id"],
            ["documents.file_id", "documents.file_version", "documents.user_id"],
            name="fk_document_chunks_document",
            ondelete="CASCADE",
        ),
        UniqueConstraint("id", "user_id", name="uq_document_chunks_owner"),
        UniqueConstraint("file_id", "file_version", "chunk_index", name="uq_document_chunks_chunk"),
        Index("ix_document_chunks_user_id", "user_id"),
        Index("ix_document_chunks_words", "words", postgresql_using="gin"),
    )


class DocumentEmbedding(Base):
    """Where a passage lies for a model: the record, from which any search index can be made again."""

    __tablename__ = "document_embeddings"

    chunk_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    model_version: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    embedding: Mapped[Any] = mapped_column(Vector)
    dimension: Mapped[int] = mapped_column(Computed("vector_dims(embedding)", persisted=True))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        *_of_a_model("document_embeddings"),
        ForeignKeyConstraint(
            ["chunk_id", "user_id"],
            ["document_chunks.id", "document_chunks.user_id"],
            name="fk_document_embeddings_chunk",
            ondelete="CASCADE",
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
    language: Mapped[str] = mapped_column(server_default=sql("'simple'"))
    words: Mapped[Any] = mapped_column(TSVECTOR, server_default=sql("''"))

    __table_args__ = (
        Index("ix_chat_history_embeddings_words", "words", postgresql_using="gin"),
        *_of_a_model("chat_history_embeddings"),
        UniqueConstraint(
            "message_id", "chunk_index", "model", "model_version", name="uq_chat_history_embeddings_chunk"
        ),
    )
