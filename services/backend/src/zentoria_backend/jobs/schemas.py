"""Jobs as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

State = Literal["queued", "running", "done", "failed", "cancelled"]


class Job(BaseModel):
    """Work that goes on after the answer."""

    id: UUID
    kind: Annotated[str, Field(examples=["files.ingest"])]
    state: State
    progress: Annotated[float, Field(ge=0, le=1)]
    stage: Annotated[str | None, Field(examples=["verify"])] = None
    result: Annotated[dict[str, Any] | None, Field(description="what came out, when it is done")] = None
    error: Annotated[dict[str, Any] | None, Field(description="a problem (RFC 9457), when it failed")] = None
    file_id: UUID | None = None
    created_at: datetime.datetime
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
