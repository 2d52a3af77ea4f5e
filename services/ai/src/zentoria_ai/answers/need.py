"""Whether a question wants the user's documents, and what is said when they do not answer it."""

# ruff: noqa: RUF001 - people type typographic quotation marks and apostrophes

from __future__ import annotations

import re
from typing import Literal

Need = Literal["never", "helpful", "needed"]
"""``helpful``: they are searched, and used if they support an answer; ``needed``: without them there is none."""

_THEIRS = re.compile(
    r"\b(my|our|the|this|these|that|attached|uploaded|according to)\s+(\w+\s+){0,2}(documents?|files?|pdfs?|"
    r"contracts?|invoices?|reports?|"
    r"letters?|manuals?|scans?|notes?|e-?mails?|attachments?|papers?|policy|policies|agreements?|receipts?|"
    r"statements?|spreadsheets?|slides?)\b"
    r"|\b(documents?|files?|pdf|attachment)\b.*\b(say|says|state|states|mention|mentions)\b|\bpage \d+\b"
    r"|\b(meine[nmrs]?|unsere[nmrs]?|laut|im|in de[rmn]|de[rmn]|die|das)\s+(\w+\s+){0,2}(dokumente?n?s?|dateie?n?|"
    r"vertr[aä]ge?s?|rechnung(en)?|berichte?s?|briefe?s?|handbuchs?|unterlagen)\b"
    r"|\b[\w-]+\.(pdf|docx?|xlsx?|pptx?|csv|txt|md|eml|html?)\b",
    re.IGNORECASE,
)
_OWN_WORK = re.compile(
    r"^\s*(please\s+|can you\s+|could you\s+)?(write|compose|draft|invent|imagine|translate|rephrase|rewrite|correct|"
    r"proofread|tell me a (joke|story)|"
    r"calculate|compute|brainstorm|schreib|übersetze|erfinde|formuliere|korrigiere)\b|^\s*[-+*/().\d\s=?]+$",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"^\s*(hi|hello|hey|hallo|moin|servus|good (morning|evening|afternoon|night)|guten (morgen|tag|abend)|"
    r"thanks?( you)?|thank you( very much)?|danke( schön)?|"
    r"bye|goodbye|tschüss|ok(ay)?|great|cool|how are you( today)?|wie geht('s| es dir)|who are you|"
    r"what can you do)\b[\s!.?,]*(zentoria|there)?[\s!.?]*$",
    re.IGNORECASE,
)
_FACT = re.compile(
    r"^\W*(and |but |so |und |aber )?(who|whom|whose|what|which|when|where|how (many|much|long|old|far|often|high|"
    r"big)|did|does|is|are|was|were|has|have|"
    r"wer|wen|wem|wessen|was|welche[rsnm]?|wann|wo|wohin|woher|wie ?(viele?|lange?|alt|weit|oft|hoch|groß)|ist|sind|"
    r"war|waren|hat|haben)\b",
    re.IGNORECASE,
)
_GERMAN = re.compile(
    r"\b(der|die|das|und|ist|nicht|ein|eine|wie|was|wer|wann|wo|warum|welche[rsnm]?|mit|für|von|im|ich|mein|meine|"
    r"bitte|steht|gibt|kostet|wieviel)\b",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(the|and|is|not|a|an|how|what|who|when|where|why|which|with|for|of|in|my|please|does|do|are|was|it|to)\b",
    re.IGNORECASE,
)
_MODEL_REFUSES = re.compile(
    r"\b(the )?(documents?|passages?|text|context|provided (information|documents?|passages?))\b[^.]{0,40}\b(do(es)?|"
    r"did) not "
    r"(say|mention|contain|provide|state|include|specify|answer|give|have)\b"
    r"|\b(do(es)?n['’]t|cannot|can['’]t|could not|couldn['’]t|unable to) (say|mention|contain|find|answer|provide|"
    r"determine)\b"
    r"|\b(is|are|was|were) not (mentioned|stated|given|provided|specified|included|in the (documents?|passages?))\b"
    r"|\b(no|not any) (information|mention|answer|details?)\b|\bi (do not|don['’]t) know\b"
    r"|\b(steht|stehen|findet|finden) (sich )?(nicht|nichts|keine)\b|\bkeine (information|angabe)",
    re.IGNORECASE,
)


def needs_documents(question: str, intent: str | None, *, narrowed: bool) -> Need:
    """What a question wants.

    Args:
        question: of the user.
        intent: as the classifier has it, or None.
        narrowed: it comes with attachments or filters.
    """
    if narrowed or _THEIRS.search(question):
        return "needed"
    if _GREETING.match(question) or _OWN_WORK.match(question) or intent in ("chat.smalltalk", "chat.memory"):
        return "never"
    return "helpful"


def looks_for_facts(question: str) -> bool:
    """Whether a question asks for something that is so or not so, which nobody wants guessed."""
    return bool(_FACT.search(question))


def is_german(text: str) -> bool:
    """Whether a text looks German rather than English."""
    return len(_GERMAN.findall(text)) > len(_ENGLISH.findall(text))


def refusal(question: str, *, found: bool) -> str:
    """What is said when the documents do not answer a question.

    Args:
        question: its language is used.
        found: there are passages that are near, and none that answers.
    """
    if is_german(question):
        return (
            "Ihre Dokumente beantworten das nicht: was ihnen am nächsten kommt, sagt nichts darüber."
            if found
            else "In Ihren Dokumenten steht dazu nichts."
        )
    return (
        "Your documents do not answer this: what comes nearest says nothing about it."
        if found
        else "There is nothing about this in your documents."
    )


def model_refuses(answer: str) -> bool:
    """Whether a model's answer says, and says only, that there is none."""
    return len(answer) < 300 and bool(_MODEL_REFUSES.search(answer))
