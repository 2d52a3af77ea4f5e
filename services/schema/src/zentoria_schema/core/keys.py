"""Keys for programs: ``zt_<prefix>_<secret>``."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Computed, Index
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Created, Moment, Octets, Owner, Texts, UuidKey


class ApiKey(Base):
    """An API key. ``key_hash`` is SHA-256 of the whole key, which has 256 random bits: no slow hash is needed."""

    __tablename__ = "api_keys"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[Octets]
    scopes: Mapped[Texts]
    status: Mapped[str] = mapped_column(
        Computed("case when revoked_at is null then 'active' else 'revoked' end", persisted=True)
    )
    created_at: Mapped[Created]
    expires_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]
    last_used_ip: Mapped[str | None] = mapped_column(INET)
    revoked_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("length(key_hash) = 32", name="key_hash"),
        CheckConstraint("length(prefix) = 8", name="prefix"),
        Index("ix_api_keys_user_id_created_at", "user_id", "created_at", "id"),
    )
