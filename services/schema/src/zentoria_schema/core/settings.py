"""Settings that people change while it runs."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Created, Updated


class Setting(Base):
    """A value by its ``key``: of one user, or of all (``user_id`` null), which only an owner changes."""

    __tablename__ = "settings"
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - the form that SQLAlchemy's documentation gives

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str]
    value: Mapped[object] = mapped_column(JSONB)
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    updated_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    __table_args__ = (
        UniqueConstraint("user_id", "key", postgresql_nulls_not_distinct=True),
        CheckConstraint("length(key) between 1 and 100", name="key"),
    )
