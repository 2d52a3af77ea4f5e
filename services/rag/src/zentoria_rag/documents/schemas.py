"""What goes in and out of the routes of documents."""

from __future__ import annotations

import datetime
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Short = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Model):
    """A version of a file, and where its object is."""

    bucket: Short
    object_key: Text
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    filename: Text
    mime: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] = "application/octet-stream"
    size: Annotated[int, Field(ge=0)]
    project: Short | None = None
    tags: Annotated[list[Short], Field(max_length=100)] = []
    created_at: datetime.datetime | None = None


class Changes(_Model):
    """What is filtered by: what is not named stays."""

    project: Short | None = None
    tags: Annotated[list[Short], Field(max_length=100)] | None = None


class Which(_Model):
    """A version of a file."""

    file_id: uuid.UUID
    version: int


class PageInfo(_Model):
    """A page, and how many passages it gave."""

    page: int
    state: str
    chunks: int


class VersionInfo(_Model):
    """What is known of a version."""

    version: int
    sha256: str
    filename: str
    mime: str
    state: Literal["reading", "ready", "failed"]
    current: bool
    language: str
    title: str | None
    project: str | None
    tags: list[str]
    pages: list[PageInfo]
    chunks: int
    outcome: dict[str, Any]


class DocumentInfo(_Model):
    """What is known of a file: its versions, the newest first."""

    file_id: uuid.UUID
    versions: list[VersionInfo]


class Deleted(_Model):
    """What was removed, and what is left: 0, or it is not done."""

    rows: int
    vectors: int
    left: int


class Chunk(_Model):
    """A passage, and where it comes from."""

    chunk_id: uuid.UUID
    file_id: uuid.UUID
    version: int
    sha256: str
    filename: str
    mime: str
    page: int | None
    boxes: list[list[float]]
    heading: str
    text: str
