"""What is done for users: workflows, jobs, approvals of what a model wants to do, answers kept for a repeat."""

from __future__ import annotations

import uuid

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import (
    Base,
    Created,
    Json,
    JsonList,
    Moment,
    Octets,
    Owner,
    Updated,
    UuidKey,
    one_of,
    same_owner,
)


class Workflow(Base):
    """A workflow that a user may run. ``engine_id`` is what n8n calls it; ``parameters`` a JSON Schema of its input."""

    __tablename__ = "workflows"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    engine_id: Mapped[str | None]
    definition: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    parameters: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    deleted_at: Mapped[Moment | None]

    __table_args__ = (UniqueConstraint("id", "user_id"),)


class Job(Base):
    """Work that goes on after the answer. ``queue_id`` is its number in the queue (procrastinate's).

    ``progress`` goes from 0 to 1. ``heartbeat_at`` tells a job at work from one whose worker died.
    """

    __tablename__ = "jobs"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    progress: Mapped[float] = mapped_column(server_default=text("0"))
    stage: Mapped[str | None]
    arguments: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    result: Mapped[Json | None]
    error: Mapped[Json | None]
    file_id: Mapped[uuid.UUID | None]
    workflow_id: Mapped[uuid.UUID | None]
    queue_id: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    started_at: Mapped[Moment | None]
    heartbeat_at: Mapped[Moment | None]
    cancel_requested_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]

    __table_args__ = (
        same_owner("file_id", "files"),
        same_owner("workflow_id", "workflows"),
        UniqueConstraint("id", "user_id"),  # for keys that point to a job of the same owner
        one_of("state", "queued", "running", "done", "failed", "cancelled"),
        CheckConstraint("progress between 0 and 1", name="progress"),
        Index("ix_jobs_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_jobs_unfinished", "heartbeat_at", postgresql_where=text("state in ('queued', 'running')")),
    )


class Approval(Base):
    """Leave to do one thing once: what ``digest`` covers (tool, arguments, target's revision, actor, user, expiry).

    ``summary`` and ``effects`` tell people what it will do. ``carrier`` does it: the client, by calling again, or the
    gateway, as soon as it is approved and as ``asker`` (the credential that asked, without its secret).
    """

    __tablename__ = "approvals"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    digest: Mapped[Octets]
    tool: Mapped[str]
    arguments: Mapped[Json]
    target_revision: Mapped[str | None]
    actor: Mapped[str]
    summary: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="pending")
    created_at: Mapped[Created]
    expires_at: Mapped[Moment]
    decided_at: Mapped[Moment | None]
    decided_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"))
    reason: Mapped[str | None]
    used_at: Mapped[Moment | None]
    result: Mapped[Json | None]
    effects: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))
    carrier: Mapped[str] = mapped_column(server_default="client")
    asker: Mapped[Json] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (
        one_of("carrier", "client", "gateway"),
        one_of("state", "pending", "approved", "denied", "used", "expired"),
        CheckConstraint("length(digest) = 32", name="digest"),
        CheckConstraint("(state = 'used') = (used_at is not null)", name="used"),
        Index("ix_approvals_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_approvals_digest", "user_id", "digest"),
    )


class IdempotencyKey(Base):
    """The answer to a write, kept for who asks again with the same key. ``request_hash``: it is the same request."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[Owner] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[Octets]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[Json | None]
    body: Mapped[Octets | None]
    created_at: Mapped[Created]
    expires_at: Mapped[Moment] = mapped_column(index=True)

    __table_args__ = (CheckConstraint("length(key) between 1 and 255", name="key"),)
