"""What all models of zentoria_core share: names of constraints, and columns that come again and again."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

from zentoria_schema.names import NAMES

__all__ = [
    "Base",
    "Created",
    "Json",
    "JsonList",
    "Moment",
    "Octets",
    "Owner",
    "Texts",
    "Updated",
    "UuidKey",
    "one_of",
    "same_owner",
]

Json = dict[str, Any]
JsonList = list[Any]
Texts = list[str]
Moment = datetime
Octets = bytes


class Base(DeclarativeBase):
    """Of every table in zentoria_core."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class, and its own declaration is no ClassVar
        datetime: DateTime(timezone=True),
        str: Text,
        bytes: LargeBinary,
        uuid.UUID: Uuid,
        Json: JSONB,
        JsonList: JSONB,
        Texts: ARRAY(Text),
    }


UuidKey = Annotated[
    uuid.UUID, mapped_column(Uuid, primary_key=True, default=uuid.uuid4, server_default=text("gen_random_uuid()"))
]
"""A random key that may be shown to people."""
Owner = Annotated[int, mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))]
"""The user whose row it is: row-level security goes by this column."""
Created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Updated = Annotated[
    datetime, mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.clock_timestamp())
]


def same_owner(column: str, table: str) -> ForeignKeyConstraint:
    """A row of ``table`` that has the same owner; null once that is gone."""
    # PostgreSQL 15: of the two columns, only this one becomes null.
    return ForeignKeyConstraint(
        [column, "user_id"], [f"{table}.id", f"{table}.user_id"], ondelete=f"SET NULL ({column})"
    )


def one_of(column: str, *values: str) -> CheckConstraint:
    """Only these ``values`` in ``column``."""
    return CheckConstraint(f"{column} in ({', '.join(repr(value) for value in values)})", name=column)
