"""Lists in pages: a cursor says after which item the next one begins, so that new items move nothing."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy
from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.orm import InstrumentedAttribute
from zentoria_common.database import Database
from zentoria_common.problems import Problem
from zentoria_common.statements import Statement

MAX_LIMIT = 200
DEFAULT_LIMIT = 50

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many items at most", examples=[50])]
CursorText = Annotated[
    str | None, Query(max_length=512, description="`next_cursor` of the page before", examples=[None])
]

T = TypeVar("T")
Row = TypeVar("Row")


class Page(BaseModel, Generic[T]):
    """Some of the items, and where the next ones begin; ``next_cursor`` is null on the last page."""

    items: list[T]
    next_cursor: Annotated[str | None, Field(description="give it as `cursor` to get the next page")] = None


def encode(*parts: str | int | datetime.datetime) -> str:
    """A cursor of the sort key of an item. Opaque to clients, and no secret."""
    plain = [part.isoformat() if isinstance(part, datetime.datetime) else part for part in parts]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The sort key of a cursor, with these types; None for the first page.

    Raises:
        Problem: 422, it is none of ours.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(parts, list) or len(parts) != len(kinds):
            raise ValueError
        return tuple(_typed(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, RecursionError, OverflowError):  # binascii.Error and UnicodeError are ValueErrors
        raise Problem(422, "the cursor is none that this list gave", kind="bad-cursor") from None


def _typed(part: Any, kind: type) -> Any:
    if kind is int:
        if type(part) is not int or not -(2**63) <= part < 2**63:
            raise ValueError
        return part
    if not isinstance(part, str) or "\0" in part:
        raise ValueError
    if kind is datetime.datetime:
        moment = datetime.datetime.fromisoformat(part)
        if moment.tzinfo is None:
            raise ValueError
        return moment
    return kind(part)


def page(
    rows: Sequence[Row],
    limit: int,
    make: Callable[[Row], T],
    key: Callable[[Row], tuple[str | int | datetime.datetime, ...]],
) -> Page[T]:
    """A page from up to ``limit + 1`` rows.

    Args:
        rows: one more than ``limit`` where there is a next page.
        limit: of the page.
        make: an item from a row.
        key: the parts of the cursor from a row.
    """
    shown = rows[:limit]
    following = encode(*key(shown[-1])) if len(rows) > limit else None
    return Page(items=[make(row) for row in shown], next_cursor=following)


def columns_of(entity: type[Any]) -> list[ColumnElement[Any]]:
    """What a row of a table has as attributes, for a statement without SQLAlchemy's own objects; no deferred ones."""
    mapper = sqlalchemy.inspect(entity)
    return [each.columns[0].label(each.key) for each in mapper.column_attrs if not each.deferred]


class Listing:
    """A user's rows of one table in pages, the newest first.

    Args:
        entity: the table's class, with ``id`` and ``user_id``.
        moment: the column that says how new a row is.
        conditions: which rows; their ``bindparam()`` are given to :meth:`page`.
    """

    def __init__(
        self, entity: type[Any], moment: InstrumentedAttribute[datetime.datetime], *conditions: ColumnElement[bool]
    ) -> None:
        self._moment = moment.key
        wanted = sqlalchemy.select(*columns_of(entity)).where(entity.user_id == bindparam("owner"), *conditions)
        wanted = wanted.order_by(moment.desc(), entity.id.desc()).limit(bindparam("most"))
        seen = sqlalchemy.tuple_(bindparam("moment", type_=moment.type), bindparam("seen", type_=entity.id.type))
        self._first = Statement(wanted)
        self._further = Statement(wanted.where(sqlalchemy.tuple_(moment, entity.id) < seen))

    async def page(
        self, database: Database, user_id: int, limit: int, cursor: str | None, make: Callable[[Any], T], **values: Any
    ) -> Page[T]:
        """One page.

        Args:
            database: where the table is.
            user_id: whose rows.
            limit: of the page.
            cursor: of the page before.
            make: an item from a row, which has the columns as attributes.
            values: of the conditions.

        Raises:
            Problem: 422, the cursor is none of this list.
        """
        after = decode(cursor, datetime.datetime, UUID)
        if after is not None:
            values |= {"moment": after[0], "seen": after[1]}
        statement = self._first if after is None else self._further
        rows = await database.rows(statement, user_id, owner=user_id, most=limit + 1, **values)
        return page(rows, limit, make, lambda row: (getattr(row, self._moment), str(row.id)))
