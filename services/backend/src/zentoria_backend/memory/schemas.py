"""Memories as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

MAX_TEXT = 2000
Text = Annotated[
    str,
    Field(
        min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$", examples=["I live in Bergen and like short answers"]
    ),
]


class NewMemory(BaseModel):
    """Something to remember."""

    model_config = ConfigDict(extra="forbid")

    text: Text


class Memory(BaseModel):
    """Something that answers may go by."""

    id: UUID
    text: str
    source: Annotated[str, Field(description="who put it there", examples=["session"])]
    created_at: datetime.datetime
