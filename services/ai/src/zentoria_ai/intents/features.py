"""What a classifier sees of a sentence: its meaning as a vector, and its words and their parts, hashed."""

# ruff: noqa: RUF001 - people type typographic quotation marks and apostrophes

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zentoria_ai.answers.facts import normal
from zentoria_ai.meaning.embedder import Vectors

WORDS_SIZE = 4096
"""Places of hashed words and pairs of words."""
PARTS_SIZE = 4096
"""Places of hashed parts of words, three to five letters: endings, compounds, typing errors."""
MOST_CHARACTERS = 500
_FILE = re.compile(
    r"[\w.()+&-]+\.(?:pdf|docx?|xlsx?|pptx?|odt|csv|txt|md|rtf|html?|eml|png|jpe?g|gif|tiff?|webp|mp3|wav|zip|json)\b"
)
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://\S+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def plain(sentence: str) -> str:
    """A sentence as it is compared: what a file or an address is called says nothing of what is wanted."""
    text = normal(sentence[:MOST_CHARACTERS])
    text = _URL.sub("example.org", text)
    text = _EMAIL.sub("name@example.org", text)
    return _FILE.sub("file.pdf", text)


def words(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Hashed words, pairs and parts, a row each, of length 1 in each of the two halves."""
    rows = np.zeros((len(sentences), WORDS_SIZE + PARTS_SIZE), np.float32)
    for row, sentence in zip(rows, sentences, strict=True):
        found = _WORD.findall(plain(sentence))
        for gram in (*found, *map(" ".join, zip(["^", *found], [*found, "$"], strict=True))):
            _add(row[:WORDS_SIZE], gram)
        for word in found:
            padded = f"<{word}>"
            for size in (3, 4, 5):
                for start in range(len(padded) - size + 1):
                    _add(row[WORDS_SIZE:], padded[start : start + size])
        for half in (row[:WORDS_SIZE], row[WORDS_SIZE:]):
            np.sqrt(np.abs(half), out=half)
            length = np.linalg.norm(half)
            if length:
                half /= length
    return rows


def _add(row: NDArray[np.float32], gram: str) -> None:
    row[zlib.crc32(gram.encode()) % len(row)] += 1.0


def whole(vectors: Vectors, words_of: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Meaning and words together.

    Args:
        vectors: of the embedder.
        words_of: of :func:`words`.
        weight: of the words.
    """
    return np.concatenate([vectors, words_of * np.float32(weight)], axis=1)
