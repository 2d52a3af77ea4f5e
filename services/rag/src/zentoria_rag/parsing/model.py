"""What parsers give, and how a document fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

State = Literal["read", "empty", "unread", "failed"]
"""Of a page: it has text; it has nothing; it has only pictures (text recognition's work); it could not be read."""
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as shares of the page as it is shown, from its top left."""
Code = Literal["encrypted", "broken", "unsupported", "too-large", "bomb", "timeout", "memory", "changed"]
"""Why a document cannot be read; trying again does not help."""


class DocumentError(Exception):
    """A document that cannot be read.

    Args:
        code: the kind.
        detail: one sentence for whoever put it there; nothing of its content.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading in a page's text: where it begins, how deep it is (1 the highest), and its words."""

    offset: int
    level: int
    text: str


@dataclasses.dataclass(frozen=True)
class Page:
    """One page: of a PDF, a slide, a sheet; whatever has no pages is one.

    Args:
        number: from 1; None where there are no pages.
        state: whether it has text.
        text: paragraphs are apart by one empty line, before a heading there are two.
        headings: in order.
        locate: boxes of a part of the text, by its offsets; None where pages have no places.
    """

    number: int | None
    state: State
    text: str = ""
    headings: tuple[Heading, ...] = ()
    locate: Callable[[int, int], list[Box]] | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a document may cost: pages that are read, and bytes that its parts may have, unpacked."""

    pages: int = 2000
    unpacked: int = 300 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A document that is being read.

    Args:
        kind: of what it is, as ``pdf``.
        total: how many pages it has; more may be left out.
        title: as it says itself.
        pages: from the one that was asked for on, read when they are asked for.
    """

    kind: str
    total: int
    title: str | None
    pages: Iterator[Page]


class Writer:
    """Puts the text of a page together from paragraphs and headings."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []

    def add(self, text: str, level: int = 0) -> None:
        """Add a paragraph, or a heading of ``level`` (1 and more). Empty ones are left out."""
        text = text.strip()
        if not text:
            return
        if self._parts:
            self._put("\n\n\n" if level else "\n\n")
        if level:
            self._headings.append(Heading(self._length, level, " ".join(text.split())[:200]))
        self._put(text)

    def page(self, number: int | None) -> Page:
        """What was added, as a page."""
        text = "".join(self._parts)
        return Page(number, "read" if text else "empty", text, tuple(self._headings))

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def one(kind: str, page: Page, title: str | None = None) -> Parsed:
    """A document that is one page."""
    return Parsed(kind, 1, title, iter((page,)))


def clean(lines: Sequence[str]) -> str:
    """Lines as one paragraph."""
    return " ".join(" ".join(lines).split())
