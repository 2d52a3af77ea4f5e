"""A page to passages: along headings, paragraphs and sentences, each as large as the model takes, with overlap."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from semantic_text_splitter import TextSplitter

from zentoria_rag.chunking.tokens import SPECIAL, tokenizer
from zentoria_rag.parsing.model import Box, Heading, Page

HEADING_TOKENS = 40
"""That are kept free for the headings that a passage stands under, and what the model wants before it."""


@dataclasses.dataclass(frozen=True)
class Passage:
    """A part of a page.

    Args:
        text: as it stands there.
        heading: the headings that it stands under, the highest first.
        boxes: where it is on the page; empty where pages have no places.
    """

    text: str
    heading: tuple[str, ...]
    boxes: list[Box]


class Splitter:
    """Cuts pages of one document, in order: headings hold over the end of a page.

    Args:
        path: of the tokenizer; empty for BERT's uncased.
        tokens: that the model takes at most.
        overlap: tokens that two passages of a page share.
    """

    def __init__(self, path: str, tokens: int, overlap: int) -> None:
        self._tokenizer = tokenizer(path)
        capacity = max(16, tokens - SPECIAL - HEADING_TOKENS)
        self._splitter = TextSplitter.from_huggingface_tokenizer(self._tokenizer, capacity, min(overlap, capacity // 2))
        self._most = tokens - SPECIAL
        self._above: tuple[Heading, ...] = ()

    def chunks(self, page: Page) -> list[Passage]:
        """The passages of a page, in order; none of a page without text."""
        if page.state != "read":
            return []
        found, headings, above = list[Passage](), list(page.headings), self._above
        for offset, text in self._pieces(page):
            # A heading that a passage begins with is one that it stands under; one in its midst is not.
            while headings and headings[0].offset <= offset:
                above = under(above, headings.pop(0))
            boxes = page.locate(offset, offset + len(text)) if page.locate is not None else []
            found.append(Passage(text, self._path(above), boxes))
        for heading in headings:
            above = under(above, heading)
        self._above = above
        return found

    def _pieces(self, page: Page) -> Iterator[tuple[int, str]]:
        """Pieces of the text, with their offsets. Headings before a long paragraph are no pieces: they go with it."""
        titles = {" ".join(heading.text.split()) for heading in page.headings}
        begin: int | None = None
        for offset, text in self._splitter.chunk_indices(page.text):
            end = offset + len(text)
            if begin is not None:
                whole = page.text[begin:end]
                if len(self._tokenizer.encode(whole, add_special_tokens=False).ids) <= self._most:
                    offset, text = begin, whole
                else:
                    yield begin, page.text[begin:offset].rstrip()
                begin = None
            lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
            if lines and all(line in titles for line in lines):
                begin = offset
            else:
                yield offset, text
        if begin is not None:
            yield begin, page.text[begin:].rstrip()

    def _path(self, above: tuple[Heading, ...]) -> tuple[str, ...]:
        """The words of the headings; the highest are left out where there is no room for all."""
        kept: list[str] = []
        room = HEADING_TOKENS - 8
        for heading in reversed(above):
            cost = len(self._tokenizer.encode(heading.text, add_special_tokens=False).ids) + 1
            if cost > room:
                break
            room -= cost
            kept.append(heading.text)
        return tuple(reversed(kept))


def under(above: tuple[Heading, ...], heading: Heading) -> tuple[Heading, ...]:
    """The headings in force once ``heading`` was met."""
    return (*(one for one in above if one.level < heading.level), heading)
