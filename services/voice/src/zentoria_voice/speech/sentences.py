"""Text cut into pieces that are spoken one after the other, so that the first is heard while others are made."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 300
_END = re.compile(r"(?<=[.!?\u2026:;])[\"'\u201d\u2019)\]]*\s+|\n\s*\n|(?<=[\u3002\uff01\uff1f])")
_SPEAKABLE = re.compile(r"\w")


def sentences(text: str) -> Iterator[str]:
    """Sentences of a text, none longer than :data:`LONGEST` characters; what has no letter or digit is left out."""
    for sentence in _END.split(text):
        yield from (piece for piece in _pieces(" ".join(sentence.split())) if _SPEAKABLE.search(piece))


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST:
        head = sentence[:LONGEST]
        cut = max(head.rfind(", "), head.rfind(" - "))
        cut = cut + 1 if cut > LONGEST // 3 else head.rfind(" ")
        cut = cut if cut > 0 else LONGEST
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    if sentence:
        yield sentence
