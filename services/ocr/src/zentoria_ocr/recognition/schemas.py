"""What is asked, and what a page's result is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zentoria_ocr.settings import Language

State = Literal["done", "failed", "skipped"]
Engine = Literal["tesseract", "rapidocr"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ObjectKey = Annotated[
    str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
]
PageNumber = Annotated[int, Field(ge=1, le=1_000_000)]


class Recognition(BaseModel):
    """One document to read.

    Args:
        bucket: where it is.
        object_key: which object; it is below a folder with the user's id.
        mime: what it is: a PDF, PNG, JPEG, TIFF or WebP.
        pages: numbers from 1; None: each page that has no text layer.
        languages: as Tesseract calls them; None: those of the site.
        prefix: what the result's key begins with, as ``documents/<user id>/<file id>``; None: the user's id.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]+$")]
    object_key: ObjectKey
    mime: Annotated[str, Field(max_length=200)]
    pages: Annotated[tuple[PageNumber, ...], Field(min_length=1)] | None = None
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=8)] | None = None
    prefix: ObjectKey | None = None


class PageResult(BaseModel):
    """What came of one page.

    Args:
        page: its number, from 1.
        state: ``skipped``: it had a text layer. ``failed``: it stays as it was.
        confidence: the engine's own, 0 to 100, mean over the words by their length; None: there are no words.
        engine: whose text it is.
        reason: why it failed.
    """

    model_config = ConfigDict(frozen=True)

    page: int
    state: State
    confidence: float | None = None
    engine: Engine | None = None
    reason: Literal["time", "memory", "crash", "unreadable"] | None = None

    def shown(self) -> dict[str, Any]:
        """As it stands in answers."""
        found = {"page": self.page, "state": self.state, "confidence": self.confidence, "engine": self.engine}
        return found | ({"reason": self.reason} if self.reason else {})


class Job(BaseModel):
    """What the process that reads a document is told, on its standard input.

    Paths are of this machine. ``explicit``: the pages were named, so one with a text layer is read as well.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    mime: str
    work: str
    results: str
    pages: tuple[int, ...] | None
    skip: tuple[int, ...] = ()
    explicit: bool = False
    languages: tuple[str, ...]
    threads: int
    page_seconds: float
    memory: int
    max_pages: int
    max_pixels: int
    max_image_pixels: int
    second_opinion_below: float
