"""Recall by page with the real embedding model, over the documents and questions of ``library/``; and the measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rag_documents as made
from score_rag import BgeEngine, opened
from zentoria_rag.chunking.tokens import count, tokenizer
from zentoria_rag.scoring.command import bounds, measured, scores
from zentoria_rag.scoring.measure import BadQuestions, Found, Question, calibrated, questions, recall, report
from zentoria_rag.search.support import Support
from zentoria_schema.embedded import PostgresServer

from tests.support import weights

LIBRARY = Path(__file__).parent / "library"
QUESTIONS = LIBRARY / "questions.jsonl"


def handbook() -> bytes:
    """The pages of ``handbook.txt``, one a heading, as a PDF."""
    pages: list[list[str]] = []
    for line in (LIBRARY / "handbook.txt").read_text().splitlines():
        if line.startswith("# "):
            pages.append([])
        pages[-1].append(line)
    return made.pdf(pages, title="Handbook of the house")


@pytest.mark.slow  # the model reads every page and question
@pytest.mark.asyncio
async def test_questions_find_their_pages_and_others_are_refused(
    postgres_server: PostgresServer, vectors_database: str, tmp_path: Path
) -> None:
    (tmp_path / "handbook.pdf").write_bytes(handbook())
    async with opened(postgres_server, vectors_database, BgeEngine(weights.embedding())) as services:
        done, asked = await measured(services, tmp_path, QUESTIONS)
        assert (done["read"]["documents"], done["read"]["pages"], done["read"]["failed"]) == (1, 16, {})
        found = scores(services, asked)
        assert found["recall@5"] >= 0.95, found["missed"]
        assert found["recall@1"] >= 0.8
        assert found["answered"] >= 0.85
        assert found["refused"] >= 0.9
        # the settings' bound is what calibration comes to, or does no worse
        best = bounds(services, asked)
        assert best["answered"] + best["refused"] - found["answered"] - found["refused"] <= 0.05
    with postgres_server.connect(vectors_database) as connection:
        assert connection.execute("select count(*) from documents").fetchone() == (0,), "nothing is left of it"


@pytest.mark.slow  # it fetches the model's files
def test_the_tokenizer_within_is_the_models_own() -> None:
    path = str(weights.embedding() / "tokenizer.json")
    for text in (*(LIBRARY / "handbook.txt").read_text().splitlines(), "Größe ÀÉ 中文 \u00ad\u200b emoji 😀 x" * 3):
        mine, theirs = (tokenizer(one).encode(text, add_special_tokens=False).ids for one in ("", path))
        assert mine == theirs
        assert count(text) == len(theirs)


def test_questions_are_read_in_the_forms_that_they_come_in() -> None:
    lines = ['{"question": "a", "file": "x.pdf", "pages": [1, 2]}', '{"query": "b", "doc": "y.pdf", "page": 3}', "",
             '{"question": "c"}', '{"question": "d", "pages": [4], "answerable": false}']  # fmt: skip
    assert questions(lines) == [
        Question("a", "x.pdf", frozenset({1, 2})),
        Question("b", "y.pdf", frozenset({3})),
        Question("c", None, frozenset()),
        Question("d", None, frozenset()),
    ]
    for bad in ("x", "[]", '{"pages": [1]}', '{"question": "a", "pages": ["1"]}', '{"question": "a", "pages": [0]}'):
        with pytest.raises(BadQuestions, match="line 1"):
            questions([bad])
    with pytest.raises(BadQuestions, match="no question"):
        questions([])


def test_recall_counts_pages_of_the_right_file() -> None:
    asked = [
        (Question("a", "x.pdf", frozenset({2})), [Found("y.pdf", 2, 1, 1), Found("X.PDF", 2, 1, 1)]),
        (Question("b", "x.pdf", frozenset({1})), [Found("x.pdf", None, 1, 1)]),
        (Question("c", None, frozenset({9})), [Found("x.pdf", 8, 1, 1)]),
        (Question("none", None, frozenset()), [Found("x.pdf", 8, 0.1, 0.4)]),
    ]
    assert recall(asked, 1) == pytest.approx(1 / 3)
    assert recall(asked, 2) == pytest.approx(2 / 3)
    told = report(asked, Support(0.5, 0.5))
    assert (told["questions"], told["answered"], told["refused"], told["missed"]) == (4, 1.0, 1.0, ["c"])


def test_calibration_finds_the_score_that_parts() -> None:
    """Words tell here, and meaning does not: so it takes words alone, and a bound amid the two."""
    asked = [(Question("yes", None, frozenset({1})), [Found("x", 1, 0.6 + n / 100, 0.6)]) for n in range(5)]
    asked += [(Question("no", None, frozenset()), [Found("x", 1, 0.2 + n / 100, 0.6 + n / 50)]) for n in range(5)]
    found = calibrated(asked)
    assert (found.answered, found.refused) == (1.0, 1.0)
    assert 0.24 < found.bound < 0.6
    with pytest.raises(BadQuestions, match="such that they do not"):
        calibrated(asked[:5])


def test_the_shipped_questions_are_sound() -> None:
    listed = questions(QUESTIONS.read_text().splitlines())
    assert sum(one.answerable for one in listed) >= 24
    assert sum(not one.answerable for one in listed) >= 10
    assert json.dumps(handbook().count(b"/Type /Page\n")) == "16"
