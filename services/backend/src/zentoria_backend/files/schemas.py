"""Files as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Tag = Annotated[str, StringConstraints(pattern=r"^[^\s,\x00-\x1f][^,\x00-\x1f]{0,49}$")]
Project = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f][^\x00-\x1f]{0,99}$")]
DocumentState = Literal["waiting", "reading", "ready", "failed", "needs_a_look"]
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
    project: Annotated[str | None, Field(examples=["Norway"])] = None
    document: Annotated[
        DocumentState | None, Field(description="how far its text is in the index; null: nobody reads its text")
    ] = None
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
    origin: Annotated[Literal["upload", "ocr"], Field(description="ocr: text recognition made it of the one before")]
    created_at: datetime.datetime
    current: bool


class FileChange(BaseModel):
    """What is to change; what is not said stays."""

    model_config = ConfigDict(extra="forbid")

    filename: FileName | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None
    project: Annotated[Project | Literal[""] | None, Field(description="empty: it is of none", examples=["Norway"])] = (
        None
    )


class ProjectCount(BaseModel):
    """A project, and how many files it has."""

    name: str
    files: int
