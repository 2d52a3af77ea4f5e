"""Files as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Tag = Annotated[str, StringConstraints(pattern=r"^[^\s,\x00-\x1f][^,\x00-\x1f]{0,49}$")]
FileName = Annotated[str, Field(min_length=1, max_length=255, examples=["Invoice 2026-11.pdf"])]


class File(BaseModel):
    """A file with its current content."""

    id: UUID
    filename: FileName
    size: Annotated[int, Field(ge=0, description="bytes")]
    mime_type: Annotated[str, Field(examples=["application/pdf"])]
    sha256: Annotated[str, Field(description="of the content, in hexadecimal digits", min_length=64, max_length=64)]
    version: Annotated[int, Field(ge=1)]
    revision: Annotated[int, Field(description="grows with every change; the ETag")]
    tags: list[str]
    uploaded_at: datetime.datetime
    updated_at: datetime.datetime
    deleted_at: datetime.datetime | None = None
    purge_after: Annotated[
        datetime.datetime | None, Field(description="until then a deletion can be undone; afterwards nothing is left")
    ] = None


class FileVersion(BaseModel):
    """One content that a file has or had."""

    number: int
    size: int
    mime_type: str
    sha256: str
    created_at: datetime.datetime
    current: bool


class FileChange(BaseModel):
    """What is to change; what is not said stays."""

    model_config = ConfigDict(extra="forbid")

    filename: FileName | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None
