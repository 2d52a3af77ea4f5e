"""Who did what. Only the function ``append_audit`` writes it."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, Index, String, func
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Json, Moment, Octets


class AuditEntry(Base):
    """A row of the trail, of a chain: ``hash`` covers the row and ``prev_hash``, which is the hash of the row before.

    Partitioned by month of ``timestamp``. Ids have no gaps. No key points to ``users``: the trail outlives accounts.
    """

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    timestamp: Mapped[Moment] = mapped_column(DateTime(timezone=True), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(100))
    resource_type: Mapped[str | None] = mapped_column(String(50))
    resource_id: Mapped[str | None] = mapped_column(String(255))
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    details: Mapped[Json]
    severity: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str]
    request_id: Mapped[str | None]
    prev_hash: Mapped[Octets]
    hash: Mapped[Octets]

    __table_args__ = (
        CheckConstraint(
            # As text: for PostgreSQL writes it down in another way each time it reads it, otherwise.
            "severity::text in ('debug', 'info', 'notice', 'warning', 'error', 'critical')",
            name="severity",
        ),
        CheckConstraint("length(hash) = 32 and length(prev_hash) = 32", name="hash"),
        Index("idx_audit_timestamp", "timestamp"),
        Index("idx_audit_user", "user_id"),
        Index("idx_audit_action", "action"),
        {"postgresql_partition_by": "RANGE (timestamp)"},
    )


class AuditHead(Base):
    """The one row that says how far the chain goes: its lock is the chain's, and its hash shows a cut tail."""

    __tablename__ = "audit_head"

    one: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger)
    timestamp: Mapped[Moment] = mapped_column(DateTime(timezone=True), server_default=func.now())
    hash: Mapped[Octets]
    partitions_until: Mapped[date]

    __table_args__ = (CheckConstraint("one", name="one"),)
