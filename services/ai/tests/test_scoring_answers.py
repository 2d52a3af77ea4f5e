"""Scores of answers: what counts as right, cited, refused; and the way through a site."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from zentoria_ai.scoring import command
from zentoria_ai.scoring.measure import Answered, BadQuestions, Expected, expected, is_cited, is_right

RENT = Expected("How much?", "lease.pdf", frozenset({3}), ("1,250 euros",), True)
NONE = Expected("Who won?", None, frozenset(), (), False)


@pytest.mark.parametrize(
    ("question", "answer", "right", "cited"),
    [
        (RENT, Answered("It is 1250 euros.", False, (("lease.pdf", 3),)), True, True),
        (RENT, Answered("It is 1.250,00 Euro.", False, (("lease.pdf", 4),)), True, False),
        (RENT, Answered("It is 1300 euros.", False, (("other.pdf", 3),)), False, False),
        (RENT, Answered("It is 1250 euros.", True), False, False),
        (RENT, Answered("", False, error="away"), False, False),
        (NONE, Answered("There is nothing.", True), True, False),
        (NONE, Answered("Brazil.", False), False, False),
    ],
)
def test_what_counts(question: Expected, answer: Answered, right: bool, cited: bool) -> None:
    assert (is_right(question, answer), is_cited(question, answer)) == (right, cited)


@pytest.mark.parametrize(
    "line", ["", "{", "3", "{}", '{"question": ""}', '{"question": "a", "pages": [0]}', "[" * 100_000]
)
def test_lines_that_are_no_questions(line: str) -> None:
    with pytest.raises(BadQuestions):
        expected([line])


def test_questions_without_facts_and_pages_have_no_answer() -> None:
    first, second, third = expected([
        '{"question": "a", "facts": "x", "file": "f.pdf", "page": 2}', '{"question": "b"}',
        '{"query": "c", "expected": ["x"], "answerable": false}',
    ])  # fmt: skip
    assert (first.facts, first.pages, first.answerable) == (("x",), frozenset({2}), True)
    assert (second.answerable, third.answerable) == (False, False)


class Gateway:
    """Stands for the gateway's routes that are used."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.deleted: list[str] = []
        self.polls = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1/")
        assert request.headers["authorization"] == "Bearer zt_key"
        if request.method == "DELETE":
            self.deleted.append(path)
            return httpx2.Response(204)
        if path == "uploads":
            self.files["f1"] = request.url.params["filename"]
            return httpx2.Response(202, json={"upload_id": "u", "size": 1, "job": {"id": "j1", "file_id": None}})
        if path == "jobs/j1":
            return httpx2.Response(200, json={"state": "done", "file_id": "f1"})
        if path == "files/f1/pages":
            self.polls += 1
            return httpx2.Response(200, json={"state": "reading" if self.polls == 1 else "ready"})
        if path == "conversations":
            return httpx2.Response(201, json={"id": "c1"})
        if path == "conversations/c1/answers":
            self.asked = json.loads(request.content)["content"]
            return httpx2.Response(201, json={"message_id": "m", "answer_id": "a1"})
        assert path == "conversations/c1/answers/a1/events"
        return httpx2.Response(200, text=self.said())

    def said(self) -> str:
        if self.asked == "Who won?":
            events: list[tuple[str, Any]] = [("done", {"text": "Nothing.", "refused": True})]
        else:
            events = [("delta", {"text": "It is"}), ("citation", {"filename": "lease.pdf", "page": 3}),
                      ("done", {"text": "It is 1250 euros.", "refused": False})]  # fmt: skip
        return "".join(f"event: {name}\nid: 1\ndata: {json.dumps(data)}\n\n" for name, data in events)


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/lease.pdf").write_bytes(b"%PDF")
    (tmp_path / "key").write_text("zt_key\n")
    lines = [{"question": "How much?", "facts": ["1,250"], "file": "lease.pdf", "pages": [3]}, {"question": "Who won?"}]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps(one) for one in lines))
    parser = argparse.ArgumentParser()
    command.configure(parser.add_subparsers())
    return parser.parse_args(
        ["score-answers", str(tmp_path / "folder"), str(tmp_path / "q.jsonl"), "--url", "https://site.test",
         "--key-file", str(tmp_path / "key"), "--out", str(tmp_path / "out.jsonl")]
    )  # fmt: skip


def test_a_site_is_asked_and_left_as_it_was(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "POLL_SECONDS", 0.0)
    gateway = Gateway()
    assert command.run(options, httpx2.MockTransport(gateway)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answerable"] == {"questions": 1, "right": 1.0, "cited": 1.0, "with_citation": 1.0, "refused": 0.0}
    assert found["not_answerable"] == {"questions": 1, "refused": 1.0}
    assert gateway.deleted == ["conversations/c1", "conversations/c1", "files/f1"]
    assert [json.loads(line)["right"] for line in options.out.read_text().splitlines()] == [True, True]


def test_what_the_site_refuses_is_told_in_a_line(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(401, json={"title": "Unauthorized"}))
    assert command.run(options, transport) == 1
    told = capsys.readouterr().err
    assert "401" in told
    assert len(told.strip().splitlines()) == 1
