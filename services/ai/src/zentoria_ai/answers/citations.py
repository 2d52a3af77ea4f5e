"""Which passage a sentence of an answer stands in: by its words, and where they are there by its meaning."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from zentoria_ai.answers.facts import Grounds, facts, normal

WORDS_BOUND = 0.5
"""Share of a sentence's words, weighed by how rare they are, that stand in the passage."""
MEANING_BOUND = 0.80
"""Cosine of bge-small above which two sentences say much the same, when at least a third of the words agree too."""
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "will",
        "would",
        "shall",
        "should",
        "can",
        "could",
        "may",
        "might",
        "must",
        "of",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "to",
        "and",
        "or",
        "but",
        "not",
        "no",
        "as",
        "it",
        "its",
        "they",
        "their",
        "he",
        "she",
        "his",
        "her",
        "you",
        "your",
        "we",
        "our",
        "i",
        "if",
        "then",
        "than",
        "which",
        "who",
        "whom",
        "what",
        "when",
        "where",
        "how",
        "why",
        "there",
        "here",
        "all",
        "any",
        "each",
        "more",
        "most",
        "such",
        "into",
        "about",
        "over",
        "under",
        "also",
        "only",
        "der",
        "die",
        "das",
        "den",
        "dem",
        "des",
        "ein",
        "eine",
        "einer",
        "eines",
        "einem",
        "einen",
        "ist",
        "sind",
        "war",
        "waren",
        "wird",
        "werden",
        "und",
        "oder",
        "aber",
        "nicht",
        "kein",
        "keine",
        "zu",
        "von",
        "mit",
        "im",
        "in",
        "am",
        "um",
        "auf",
        "für",
        "bei",
        "aus",
        "nach",
        "als",
        "auch",
        "nur",
        "es",
        "sie",
        "er",
        "wir",
        "ich",
        "according",
        "document",
        "documents",
        "passage",
        "text",
        "states",
        "says",
        "mentions",
        "mentioned",
        "provided",
        "based",
        "information",
    ]
)
_WORD = re.compile(r"\w+(?:[.,]\d+)*")


class Passage(Protocol):
    """What can be cited."""

    @property
    def text(self) -> str:
        """Its words."""


Similar = Callable[[str], Sequence[float]]
"""How near a sentence is to each passage's nearest sentence, -1 to 1."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A sentence's passage: its number, and how well it fits (0 to 1)."""

    passage: int
    score: float


def words(text: str) -> list[str]:
    """Words that say something, cut to stems that are rough and the same for all."""
    return [_stem(word) for word in (normal(one) for one in _WORD.findall(text)) if word not in _STOP]


def _stem(word: str) -> str:
    if word[0].isdigit() or len(word) < 5:
        return word
    for ending in ("ations", "ation", "ingly", "ings", "ing", "edly", "ies", "ied", "ed", "es", "ly", "en", "er", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word.removesuffix("e")


class Matcher:
    """Matches sentences to passages.

    Args:
        passages: those that the model was given.
        similar: by meaning; without it by words alone.
    """

    def __init__(self, passages: Sequence[Passage], similar: Similar | None = None) -> None:
        self._bags = [Counter(words(one.text)) for one in passages]
        self._grounds = [Grounds([one.text]) for one in passages]
        self._similar = similar
        count = len(passages)
        spread = Counter(word for bag in self._bags for word in bag)
        self._weights = {word: math.log(1 + count / number) for word, number in spread.items()}
        self._unknown = math.log(1 + count) if count else 1.0

    def match(self, sentence: str) -> Match | None:
        """The passage that a sentence stands in; None: it stands in none, or says nothing."""
        said = set(words(sentence))
        if len(said) < 2 and not any(one.value[0].isdigit() for one in facts(sentence)):
            return None
        weights = {word: self._weights.get(word, self._unknown) for word in said}
        whole = sum(weights.values())
        if not whole:
            return None
        near = self._similar(sentence) if self._similar is not None else ()
        checked = facts(sentence)
        best: Match | None = None
        for number, bag in enumerate(self._bags):
            share = sum(weight for word, weight in weights.items() if word in bag) / whole
            # A passage that has the words but not the sentence's numbers and names is not where they come from.
            held = sum(1 for one in checked if self._grounds[number].has(one)) / len(checked) if checked else 1.0
            meaning = near[number] if number < len(near) else 0.0
            fits = (share >= WORDS_BOUND or (meaning >= MEANING_BOUND and share >= 1 / 3)) and held >= 0.5
            score = 0.6 * share + 0.2 * held + 0.2 * max(meaning, 0.0)
            if fits and (best is None or score > best.score):
                best = Match(number, score)
        return best
