"""What Paperless-ngx answers, as far as we read it, and what we say of it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zentoria_ocr.recognition.schemas import ObjectKey

Text = Annotated[str, Field(min_length=1, max_length=128)]


class Document(BaseModel):
    """A document in Paperless-ngx. ``tags`` are names."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    title: str
    created: datetime.date | None = None
    modified: datetime.datetime | None = None
    added: datetime.datetime | None = None
    original_file_name: str | None = None
    mime_type: str | None = None
    tags: tuple[str, ...] = ()

    @field_validator("created", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        """A time before version 9 of the interface, a day since."""
        return value[:10] if isinstance(value, str) else value


class Documents(BaseModel):
    """A page of a list; ``next_page`` is None at the end."""

    documents: tuple[Document, ...]
    count: int
    next_page: int | None = None


class Task(BaseModel):
    """How far Paperless-ngx is with a document that was put in.

    ``document_id`` is there when it is ``done``; ``detail`` says why it ``failed``, as with one that it has already.
    """

    state: Literal["waiting", "done", "failed"]
    document_id: int | None = None
    detail: str | None = None


class Status(BaseModel):
    """Whether it is there: ``not installed`` (and why), ``away`` (it does not answer as it should) or ``ready``."""

    state: Literal["ready", "away", "not installed"]
    reason: str | None = None
    version: str | None = None


class Consume(BaseModel):
    """A document of ours that is to be put in; ``tags`` that are not there are made."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    object_key: ObjectKey
    filename: Annotated[str, Field(min_length=1, max_length=255)]
    mime: Annotated[str, Field(max_length=200)] = "application/octet-stream"
    title: Text | None = None
    created: datetime.date | None = None
    tags: Annotated[tuple[Text, ...], Field(max_length=50)] = ()


class Import(BaseModel):
    """Where a document of Paperless-ngx is to be put: the bucket of uploads, below the user's folder."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    object_key: ObjectKey


class Imported(BaseModel):
    """It is there. ``document`` has its title, tags and day."""

    bucket: str
    object_key: str
    sha256: str
    size: int
    mime: str
    document: Document
