"""What one looks for in the audit trail."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime
from sqlalchemy import Select, Text, cast, or_
from zentoria_schema.core import AuditEntry

from zentoria_backend.audit.schemas import Severity

Word = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]+$")]
Moment = Annotated[AwareDatetime | None, Query(examples=["2026-11-29T00:00:00Z"])]


@dataclasses.dataclass(frozen=True)
class Filters:
    """Rows that fit all that are given.

    Args:
        action: whole, or its beginning with ``*`` at the end, as ``keys.*``.
        user_id: who did it.
        resource_type: to what.
        resource_id: to which one.
        severity: how much it matters, exactly.
        since: from then on.
        until: before then.
        q: a word in action, resource, actor, user agent or details.
    """

    action: Word = None
    user_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None
    resource_type: Word = None
    resource_id: Word = None
    severity: Severity | None = None
    since: Moment = None
    until: Moment = None
    q: Word = None

    def apply(self, query: Select[AuditEntry]) -> Select[AuditEntry]:
        """The same query with these conditions."""
        if self.action is not None:
            if self.action.endswith("*"):
                query = query.where(AuditEntry.action.startswith(self.action[:-1], autoescape=True))
            else:
                query = query.where(AuditEntry.action == self.action)
        for column, value in (
            (AuditEntry.user_id, self.user_id),
            (AuditEntry.resource_type, self.resource_type),
            (AuditEntry.resource_id, self.resource_id),
            (AuditEntry.severity, self.severity),
        ):
            if value is not None:
                query = query.where(column == value)
        if self.since is not None:
            query = query.where(AuditEntry.timestamp >= _utc(self.since))
        if self.until is not None:
            query = query.where(AuditEntry.timestamp < _utc(self.until))
        if self.q is not None:
            texts = (
                AuditEntry.action,
                AuditEntry.resource_type,
                AuditEntry.resource_id,
                AuditEntry.actor,
                AuditEntry.user_agent,
                cast(AuditEntry.details, Text),
            )
            query = query.where(or_(*(text.icontains(self.q, autoescape=True) for text in texts)))
        return query


def _utc(moment: datetime.datetime) -> datetime.datetime:
    """Years that leave PostgreSQL's or Python's range in another zone are taken as they are."""
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        return moment.replace(tzinfo=datetime.UTC)
