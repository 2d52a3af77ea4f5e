"""Questions with their pages, and what searching for them comes to. Pure."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from zentoria_rag.search.support import Support

KS = (1, 3, 5, 10)
_GRID = 20


class BadQuestions(Exception):
    """A line that is no question. The text says which, and why."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Args:
        text: as it is asked.
        file: where the answer is; None: in any.
        pages: on which pages it is; none: the documents do not answer it.
    """

    text: str
    file: str | None
    pages: frozenset[int]

    @property
    def answerable(self) -> bool:
        """Whether the documents answer it."""
        return bool(self.pages)


@dataclasses.dataclass(frozen=True)
class Found:
    """A passage that was found for a question."""

    file: str
    page: int | None
    words: float
    meaning: float


def questions(lines: Iterable[str]) -> list[Question]:
    """Questions, an object a line.

    ``question`` (or ``query``), ``file`` (or ``document``, ``doc``, ``source``), ``pages`` (or ``page``: a number or a
    list). Without pages, or with an empty list, or ``"answerable": false``, it is one that has no answer there.

    Raises:
        BadQuestions: see there.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            text = _first(one, ("question", "query"))
            pages = _first(one, ("pages", "page"))
        except (ValueError, AttributeError):
            raise BadQuestions(f"line {number} is no object of JSON") from None
        if not isinstance(text, str) or not text.strip():
            raise BadQuestions(f"line {number} has no 'question'")
        listed = pages if isinstance(pages, list) else [] if pages is None else [pages]
        if not all(type(page) is int and page > 0 for page in listed):
            raise BadQuestions(f"line {number}: 'pages' are numbers from 1")
        file = _first(one, ("file", "document", "doc", "source", "filename"))
        kept = frozenset(listed) if one.get("answerable", True) else frozenset()
        found.append(Question(text, str(file) if file else None, kept))
    if not found:
        raise BadQuestions("there is no question in it")
    return found


def recall(asked: Sequence[tuple[Question, Sequence[Found]]], k: int) -> float:
    """Of the questions that have an answer, the share with a right page among the first ``k`` passages."""
    able = [(question, found) for question, found in asked if question.answerable]
    right = sum(any(_right(question, one) for one in found[:k]) for question, found in able)
    return right / len(able) if able else 0.0


def report(asked: Sequence[tuple[Question, Sequence[Found]]], support: Support) -> dict[str, Any]:
    """Recall by page at several depths, and what is refused."""
    able = [found for question, found in asked if question.answerable]
    unable = [found for question, found in asked if not question.answerable]
    return {
        "questions": len(asked),
        **{f"recall@{k}": round(recall(asked, k), 4) for k in KS},
        "answered": round(sum(_supported(found, support) for found in able) / len(able), 4) if able else None,
        "refused": round(sum(not _supported(found, support) for found in unable) / len(unable), 4) if unable else None,
        "missed": [question.text for question, found in asked
                   if question.answerable and not any(_right(question, one) for one in found[:5])],
    }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A bound, and what it comes to.

    Args:
        bound: from which on an answer is supported.
        words: the share of the words' score.
        answered: of the questions that have an answer, the share above it.
        refused: of the others, the share below it.
    """

    bound: float
    words: float
    answered: float
    refused: float


def calibrated(asked: Sequence[tuple[Question, Sequence[Found]]]) -> Calibrated:
    """The share and the bound that part questions with an answer from those without best.

    Every share in twentieths is tried with every bound between two scores that occur. What counts is the sum of both
    rates (Youden's J), and among equals the bound that is farthest from the scores beside it.

    Raises:
        BadQuestions: they are all of one kind.
    """
    if len({question.answerable for question, _ in asked}) < 2:
        raise BadQuestions("to calibrate, it takes questions that the documents answer and such that they do not")
    best: tuple[float, float, Calibrated] | None = None
    for step in range(_GRID + 1):
        support = Support(0.0, step / _GRID)
        scores = sorted((_best(found, support), question.answerable) for question, found in asked)
        able = sum(one for _, one in scores)
        unable = len(scores) - able
        edges = [0.0, *(score for score, _ in scores), 1.0]
        for low, high in itertools.pairwise(edges):
            bound = (low + high) / 2
            answered = sum(one for score, one in scores if score >= bound) / able
            refused = sum(not one for score, one in scores if score < bound) / unable
            rank = (answered + refused, high - low)
            if best is None or rank > best[:2]:
                best = (*rank, Calibrated(round(bound, 4), support.words, round(answered, 4), round(refused, 4)))
    assert best is not None  # noqa: S101 - there is a question
    return best[2]


def _best(found: Sequence[Found], support: Support) -> float:
    return max((support.score(one.words, one.meaning) for one in found[:5]), default=0.0)


def _supported(found: Sequence[Found], support: Support) -> bool:
    return _best(found, support) >= support.bound


def _right(question: Question, found: Found) -> bool:
    if question.file is not None and PurePath(question.file).stem.lower() != PurePath(found.file).stem.lower():
        return False
    return (found.page or 1) in question.pages


def _first(one: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((one[name] for name in names if one.get(name) is not None), None)
