"""Questions with the facts that their answers must have, and what answers to them come to. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from zentoria_ai.answers.facts import Grounds, facts, normal


class BadQuestions(Exception):
    """A line that is no question. The text says which, and why."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """A question.

    Args:
        text: as it is asked.
        file: where the answer is; None: in any.
        pages: on which pages it is; none: it does not matter.
        facts: what must stand in the answer, each; none: the documents do not answer it, and a refusal is right.
    """

    text: str
    file: str | None
    pages: frozenset[int]
    facts: tuple[str, ...]
    answerable: bool


@dataclasses.dataclass(frozen=True)
class Answered:
    """An answer.

    Args:
        text: of it.
        refused: whether it says that there is none.
        cited: files and pages of its citations.
        error: what went wrong, in place of an answer.
    """

    text: str
    refused: bool
    cited: tuple[tuple[str, int | None], ...] = ()
    error: str | None = None


def expected(lines: Iterable[str]) -> list[Expected]:
    """Questions, an object a line: ``question``, ``facts`` (a text or a list), ``file``, ``pages``.

    Without facts and without pages, or with ``"answerable": false``, it is one that the documents do not answer.

    Raises:
        BadQuestions: see there.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            text, file = _first(one, "question", "query"), _first(one, "file", "document", "doc", "source", "filename")
            wanted, pages = _first(one, "facts", "expected", "answer"), _first(one, "pages", "page")
        except (ValueError, AttributeError, RecursionError):
            raise BadQuestions(f"line {number} is no object of JSON") from None
        if not isinstance(text, str) or not text.strip():
            raise BadQuestions(f"line {number} has no 'question'")
        listed = _list(pages)
        if not all(type(page) is int and page > 0 for page in listed):
            raise BadQuestions(f"line {number}: 'pages' are numbers from 1")
        kept = tuple(str(fact) for fact in _list(wanted))
        answerable = bool(one.get("answerable", kept or listed))
        found.append(Expected(text, str(file) if file else None, frozenset(listed), kept, answerable))
    if not found:
        raise BadQuestions("there is no question in it")
    return found


def _first(one: Mapping[str, Any], *names: str) -> Any:
    return next((one[name] for name in names if one.get(name) is not None), None)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def is_right(question: Expected, answer: Answered) -> bool:
    """Whether an answer has every fact, however it is spelt; where there is no answer, whether it says so."""
    if not question.answerable:
        return answer.refused
    if answer.refused or answer.error is not None:
        return False
    grounds, text = Grounds([answer.text]), normal(answer.text)
    return all(_has(fact, grounds, text) for fact in question.facts)


def _has(fact: str, grounds: Grounds, text: str) -> bool:
    if " ".join(normal(fact).split()) in " ".join(text.split()):
        return True
    parts = facts(fact)
    return bool(parts) and all(grounds.has(one) for one in parts)


def is_cited(question: Expected, answer: Answered) -> bool:
    """Whether a citation of an answer leads to the page where it stands."""
    name = PurePath(question.file).name if question.file else None
    return any(
        (name is None or PurePath(file).name == name) and (not question.pages or page in question.pages)
        for file, page in answer.cited
    )


def report(asked: Sequence[tuple[Expected, Answered]]) -> dict[str, Any]:
    """Shares of right, cited and refused answers."""
    inside = [(question, answer) for question, answer in asked if question.answerable]
    outside = [(question, answer) for question, answer in asked if not question.answerable]
    return {
        "questions": len(asked),
        "answerable": {
            "questions": len(inside),
            "right": _share(is_right(*one) for one in inside),
            "cited": _share(is_cited(*one) for one in inside),
            "with_citation": _share(bool(answer.cited) for _, answer in inside),
            "refused": _share(answer.refused for _, answer in inside),
        },
        "not_answerable": {"questions": len(outside), "refused": _share(answer.refused for _, answer in outside)},
        "errors": [answer.error for _, answer in asked if answer.error is not None],
    }


def _share(found: Iterable[bool]) -> float | None:
    listed = list(found)
    return round(sum(listed) / len(listed), 4) if listed else None
