"""Cuts an answer into sentences while it is being written."""

# ruff: noqa: RUF001 - people type typographic quotation marks and apostrophes

from __future__ import annotations

import dataclasses
import re

_SHORT = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "no",
        "nr",
        "art",
        "sec",
        "fig",
        "vol",
        "vs",
        "approx",
        "dept",
        "inc",
        "ltd",
        "co",
        "corp",
        "e.g",
        "i.e",
        "z.b",
        "bzw",
        "ca",
        "usw",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|\n+")


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A part of a text: ``text[start:end]``, without white space around it."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Sentence]:
    """All sentences of a text; list items and lines count as sentences of their own."""
    cutter = Cutter()
    return [*cutter.feed(text), *cutter.rest()]


class Cutter:
    """Takes pieces of a text and gives sentences as soon as each is whole."""

    def __init__(self) -> None:
        self._text = ""
        self._done = 0

    def feed(self, piece: str) -> list[Sentence]:
        """Add a piece; gives the sentences that ended."""
        self._text += piece
        found = []
        searched = self._done
        while match := _END.search(self._text, searched):
            searched = match.end()
            if match.group().startswith(".") and self._is_short(match.start()):
                continue
            found += self._cut(match.end())
        return found

    def rest(self) -> list[Sentence]:
        """What is left at the end."""
        return self._cut(len(self._text))

    def _is_short(self, dot: int) -> bool:
        word = re.search(r"[\w.]*$", self._text[self._done : dot])
        before = word.group().lower() if word else ""
        # "3." begins a list item, "J." is an initial: neither ends a sentence
        return before in _SHORT or (before.isdecimal() and len(before) < 3) or (len(before) == 1 and before.isalpha())

    def _cut(self, end: int) -> list[Sentence]:
        whole = self._text[self._done : end]
        start = self._done + len(whole) - len(whole.lstrip())
        self._done = end
        stripped = whole.strip()
        return [Sentence(stripped, start, start + len(stripped))] if stripped else []
