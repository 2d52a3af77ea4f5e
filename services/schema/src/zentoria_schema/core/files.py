"""Files of users. What is in them lies in S3."""

from __future__ import annotations

import uuid

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import (
    Base,
    Created,
    Json,
    JsonList,
    Moment,
    Octets,
    Owner,
    Texts,
    Updated,
    UuidKey,
    one_of,
    same_owner,
)

DOCUMENT_STATES = ("waiting", "reading", "ready", "failed", "needs_a_look")
"""How far the text of a document is: nobody has begun, somebody reads it, it is found, it could not be read, some pages
of it could not."""


class File(Base):
    """A file as its owner sees it: the current version's ``path`` (the object's key), ``size``, ``mime_type``.

    ``deleted_at`` hides it; until ``purge_after`` that can be undone. ``revision`` grows with every change (ETag).
    ``document_state`` says how far its text is in the index; null: it has no text that anybody reads.
    """

    __tablename__ = "files"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    filename: Mapped[str]
    bucket: Mapped[str]
    path: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    mime_type: Mapped[str]
    sha256: Mapped[Octets]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    tags: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    project: Mapped[str | None]
    document_state: Mapped[str | None]
    attributes: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    uploaded_at: Mapped[Created]
    updated_at: Mapped[Updated]
    deleted_at: Mapped[Moment | None]
    purge_after: Mapped[Moment | None]
    words: Mapped[str] = mapped_column(
        TSVECTOR,
        # Names are words joined by whatever people join them with.
        Computed(
            "to_tsvector('simple'::regconfig, regexp_replace(filename, '[^[:alnum:]]+', ' ', 'g'))", persisted=True
        ),
        deferred=True,
    )

    __table_args__ = (
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("length(sha256) = 32", name="sha256"),
        CheckConstraint("length(filename) between 1 and 255", name="filename"),
        CheckConstraint("length(project) between 1 and 100", name="project"),
        one_of("document_state", *DOCUMENT_STATES),
        UniqueConstraint("id", "user_id"),  # for keys that point to a file of the same owner
        Index("ix_files_user_id_project", "user_id", "project", postgresql_where=text("project is not null")),
        Index("ix_files_user_id_uploaded_at", "user_id", "uploaded_at", "id"),
        Index("ix_files_words", "words", postgresql_using="gin"),
        Index("ix_files_purge_after", "purge_after", postgresql_where=text("deleted_at is not null")),
    )


class FileVersion(Base):
    """One content that a file has or had. ``object_key`` is a UUID's, never a name from outside.

    ``origin``: it came from outside, or text recognition made it of the version before.
    """

    __tablename__ = "file_versions"

    id: Mapped[UuidKey]
    file_id: Mapped[uuid.UUID]
    user_id: Mapped[Owner] = mapped_column(index=True)
    number: Mapped[int]
    bucket: Mapped[str]
    object_key: Mapped[str]
    object_version: Mapped[str | None]
    size: Mapped[int] = mapped_column(BigInteger)
    mime_type: Mapped[str]
    sha256: Mapped[Octets]
    origin: Mapped[str] = mapped_column(server_default="upload")
    created_at: Mapped[Created]

    __table_args__ = (
        one_of("origin", "upload", "ocr"),
        ForeignKeyConstraint(["file_id", "user_id"], ["files.id", "files.user_id"], ondelete="CASCADE"),
        UniqueConstraint("file_id", "number"),
        Index("ix_file_versions_user_id_sha256", "user_id", "sha256"),
        UniqueConstraint("bucket", "object_key", "object_version", postgresql_nulls_not_distinct=True),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("length(sha256) = 32", name="sha256"),
    )


class Upload(Base):
    """What is on its way into S3. Only one that is ``done`` has a file."""

    __tablename__ = "uploads"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(server_default="open")
    filename: Mapped[str]
    mime_type: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[Octets | None]
    received: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    bucket: Mapped[str]
    object_key: Mapped[str]
    multipart_id: Mapped[str | None]
    parts: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))
    attributes: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    replaces: Mapped[uuid.UUID | None]
    file_id: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None]
    error: Mapped[Json | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    expires_at: Mapped[Moment]

    __table_args__ = (
        same_owner("replaces", "files"),
        same_owner("file_id", "files"),
        same_owner("job_id", "jobs"),
        one_of("state", "open", "received", "done", "failed", "aborted"),
        UniqueConstraint("bucket", "object_key"),
        CheckConstraint("received >= 0 and (size is null or received <= size)", name="received"),
        Index("ix_uploads_expires_at", "expires_at", postgresql_where=text("state in ('open', 'received')")),
    )


class Document(Base):
    """What is known of the text of a file. ``version`` is the one that was read, or is being read.

    ``duplicate_of`` is a file of the same bytes, which was read before.
    """

    __tablename__ = "documents"

    file_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[Owner] = mapped_column(index=True)
    version: Mapped[int]
    pages: Mapped[int | None]
    chunks: Mapped[int | None]
    language: Mapped[str | None]
    title: Mapped[str | None]
    duplicate_of: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None]
    error: Mapped[Json | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    ready_at: Mapped[Moment | None]

    __table_args__ = (
        ForeignKeyConstraint(["file_id", "user_id"], ["files.id", "files.user_id"], ondelete="CASCADE"),
        same_owner("duplicate_of", "files"),
        same_owner("job_id", "jobs"),
    )


class DocumentPage(Base):
    """How far one page is. ``engine`` and ``confidence`` (percent) are those of a page that was recognised."""

    __tablename__ = "document_pages"

    file_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[Owner] = mapped_column(index=True)
    state: Mapped[str]
    chunks: Mapped[int | None]
    engine: Mapped[str | None]
    confidence: Mapped[float | None]
    updated_at: Mapped[Updated]

    __table_args__ = (
        ForeignKeyConstraint(["file_id", "user_id"], ["files.id", "files.user_id"], ondelete="CASCADE"),
        one_of("state", "waiting", "read", "empty", "unread", "recognised", "failed"),
        CheckConstraint("number > 0", name="number"),
    )
