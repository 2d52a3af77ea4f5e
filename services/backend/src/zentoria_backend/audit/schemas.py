"""The audit trail as people see it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Severity = Literal["debug", "info", "notice", "warning", "error", "critical"]


class Entry(BaseModel):
    """Who did what. ``hash`` covers the row and ``prev_hash``, the hash of the row before."""

    id: Annotated[int, Field(examples=[4711])]
    timestamp: datetime.datetime
    user_id: int | None
    action: Annotated[str, Field(examples=["keys.create"])]
    resource_type: Annotated[str | None, Field(examples=["api_key"])]
    resource_id: str | None
    ip_address: Annotated[str | None, Field(examples=["203.0.113.9"])]
    user_agent: str | None
    details: dict[str, Any]
    severity: Severity
    actor: Annotated[str, Field(description="kind of the credential and its id", examples=["session:0198c1f2"])]
    request_id: str | None
    prev_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
