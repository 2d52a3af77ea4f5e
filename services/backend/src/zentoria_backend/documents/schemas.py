"""Documents as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from zentoria_backend.files.schemas import DocumentState

PageState = Literal["waiting", "read", "empty", "unread", "recognised", "failed"]
Share = Annotated[float, Field(ge=0, le=1)]


class DocumentPage(BaseModel):
    """How far one page is."""

    page: Annotated[int, Field(ge=1)]
    state: PageState
    chunks: Annotated[int | None, Field(description="pieces of it in the index")] = None
    engine: Annotated[str | None, Field(description="that recognised it", examples=["tesseract"])] = None
    confidence: Annotated[float | None, Field(description="of the recognition, in percent", examples=[93.1])] = None


class Document(BaseModel):
    """What is known of the text of a file."""

    file_id: UUID
    state: Annotated[DocumentState | None, Field(description="null: nobody reads the text of such a file")]
    version: Annotated[int | None, Field(description="that was read, or is being read")] = None
    pages: int | None = None
    chunks: int | None = None
    language: Annotated[str | None, Field(examples=["en"])] = None
    title: str | None = None
    duplicate_of: Annotated[UUID | None, Field(description="a file with the same content that was there before")] = None
    job_id: UUID | None = None
    error: Annotated[dict[str, Any] | None, Field(description="a problem (RFC 9457), where it could not be read")] = (
        None
    )
    ready_at: datetime.datetime | None = None
    items: Annotated[list[DocumentPage], Field(description="its pages, as far as they are known")]


class Passage(BaseModel):
    """A piece of a document, and where it stands."""

    chunk_id: UUID
    file_id: UUID
    version: int
    sha256: str
    filename: str
    page: int | None = None
    boxes: Annotated[
        list[Annotated[list[float], Field(min_length=4, max_length=4)]],
        Field(description="where on the page: x0, y0, x1, y1 as shares of it, from its top left corner"),
    ] = []
    heading: Any = None
    text: str
    url: Annotated[str, Field(description="opens the version that it stands in, without a credential")]
    url_expires_at: datetime.datetime


class PassageHit(BaseModel):
    """A passage that a search found."""

    chunk_id: UUID
    file_id: UUID
    version: int
    sha256: str
    filename: str
    page: int | None = None
    boxes: list[list[float]] = []
    heading: Any = None
    text: str
    score: float = 0.0
