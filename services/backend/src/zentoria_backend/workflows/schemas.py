"""Workflows as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field


class Workflow(BaseModel):
    """A workflow."""

    id: UUID
    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema of its input")]
    revision: int
    updated_at: datetime.datetime
