"""What is checked in code: sentences, facts, citations, what fits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zentoria_ai.answers.citations import Matcher
from zentoria_ai.answers.facts import Grounds, unsupported
from zentoria_ai.answers.need import is_german, model_refuses, needs_documents
from zentoria_ai.answers.prompts import PromptError, Prompts
from zentoria_ai.answers.sentences import Cutter, sentences


@dataclasses.dataclass(frozen=True)
class Text:
    text: str


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It is so. And so!", ["It is so.", "And so!"]),
        ("Dr. Weber pays 1.250 euros, e.g. now. Or not.", ["Dr. Weber pays 1.250 euros, e.g. now.", "Or not."]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("no end", ["no end"]),
        ('"Yes." He left.', ['"Yes."', "He left."]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text: str, wanted: list[str]) -> None:
    assert [one.text for one in sentences(text)] == wanted


@given(st.text(alphabet="ab .!?\n1", max_size=60), st.integers(1, 7))
def test_a_text_in_pieces_has_the_same_sentences_and_right_places(text: str, size: int) -> None:
    whole = sentences(text)
    cutter = Cutter()
    found = [one for start in range(0, len(text), size) for one in cutter.feed(text[start : start + size])]
    found += cutter.rest()
    assert "".join(one.text for one in found).split() == "".join(one.text for one in whole).split()
    assert all(text[one.start : one.end] == one.text for one in [*whole, *found])


@pytest.mark.parametrize(
    ("answer", "passage", "wanted"),
    [
        ("It costs 1,250.00 euros.", "The price is 1250 euros", []),
        ("It costs 1.250 Euro.", "Preis: 1250,00 Euro", []),
        ("It costs 1300 euros.", "The price is 1250 euros", ["1300"]),
        ("Signed on 3 May 2024.", "Date: 2024-05-03", []),
        ("Signed on 4 May 2024.", "Date: 2024-05-03", ["4"]),
        ("It ends in June.", "Ende: 30.06.2025", []),
        ("Ask Ms Meyer or Mr Schulz.", "contact: Meyer", ["Schulz"]),
        ("There are two keys.", "2 keys", []),
        ("Meyer's key is lost.", "key of Meyer", []),
        ("Write to a@b.org or c@d.org.", "mail: a@b.org", ["c@d.org"]),
        ("NASA built it.", "a rocket", ["NASA"]),
        ("The rent is due.", "nothing at all", []),
        ("1. First\n2. Second", "first second", []),
    ],
)
def test_facts_that_the_passage_does_not_have(answer: str, passage: str, wanted: list[str]) -> None:
    assert [answer[start:end] for start, end in unsupported(answer, Grounds([passage]))] == wanted


PASSAGES = [
    Text("The tenant may keep cats. Dogs need the written consent of the landlord."),
    Text("The monthly rent is 1,250 euros and is due on the third working day."),
    Text("The warranty of the washing machine ends on 3 May 2027."),
]


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        ("Cats may be kept by the tenant.", 0),
        ("The rent of 1250 euros is due on the third working day of the month.", 1),
        ("The washing machine's warranty ends on 3 May 2027.", 2),
        ("The warranty of the washing machine ends on 9 June 2031.", None),
        ("Penguins live in the Antarctic.", None),
        ("Yes.", None),
        ("The documents do not say.", None),
    ],
)
def test_sentences_are_matched_to_the_passage_they_stand_in(sentence: str, wanted: int | None) -> None:
    found = Matcher(PASSAGES).match(sentence)
    assert (found.passage if found else None) == wanted


def test_meaning_helps_where_words_differ() -> None:
    sentence = "A dog must be agreed to by the landlord in written form."
    near = Matcher(PASSAGES, lambda _: [0.95, 0.1, 0.1]).match(sentence)
    assert near is not None
    assert near.passage == 0
    assert Matcher(PASSAGES, lambda _: [0.99, 0.99, 0.99]).match("Penguins live in the Antarctic.") is None


@pytest.mark.parametrize(
    ("question", "intent", "narrowed", "wanted"),
    [
        ("What does my contract say about pets?", None, False, "needed"),
        ("what is in a.pdf", None, False, "needed"),
        ("Was steht im Vertrag?", None, False, "needed"),
        ("Is it allowed?", None, True, "needed"),
        ("How high is the rent?", "chat.question", False, "helpful"),
        ("hello there", None, False, "never"),
        ("Write a poem about my cat", None, False, "never"),
        ("you are nice", "chat.smalltalk", False, "never"),
    ],
)
def test_when_documents_are_needed(question: str, intent: str | None, narrowed: bool, wanted: str) -> None:
    assert needs_documents(question, intent, narrowed=narrowed) == wanted


def test_refusals_of_models_are_known() -> None:
    assert model_refuses("The documents do not say.")
    assert model_refuses("The passages do not mention penguins.")
    assert model_refuses("Dazu steht nichts in den Dokumenten.") or is_german("Dazu steht nichts in den Dokumenten")
    assert not model_refuses("The rent is 1250 euros.")


def test_prompts_are_read_anew_and_faults_name_the_file(tmp_path: Path) -> None:
    prompts = Prompts(tmp_path)
    with pytest.raises(PromptError, match=r"chat\.txt"):
        prompts.get("chat")
    (tmp_path / "chat.txt").write_text(" ")
    with pytest.raises(PromptError, match="empty"):
        prompts.get("chat")
    (tmp_path / "chat.txt").write_text("Be short.\n")
    assert prompts.get("chat") == "Be short."
