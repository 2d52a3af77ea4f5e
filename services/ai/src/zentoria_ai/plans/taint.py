"""What a call may be that was thought of while text of others was in sight.

Text of documents, mails, the web and tools is data. What stands there may say anything; so while such text is among
what a plan is made from, calls are marked, and those that change or send something are not proposed at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zentoria_ai.plans.schemas import Call, Request

TRUSTED = frozenset({"user", "assistant"})
_QUOTE = re.compile(
    r"```.*?(?:```|\Z)|^>.*$|\"\"\".*?\"\"\"|<(?:document|quote|email|page|web)[^>]*>.*?</(?:document|quote|email|page|web)>"
    r"|-{3,}\s*(?:begin|original|forwarded)[^\n]*\n.*",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
LONG = 600
"""Characters of a request beyond which somebody pasted something."""
_PASTED = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}\b(previous|above|prior|all|earlier|system|"
    r"safety)\b.{0,40}\b(instructions?|prompts?|rules?|messages?)\b"
    r"|\b(system|developer)\s*(prompt|message|override|:)|<\|[^|>]{1,40}\|>|\[/?inst\]|\bnew instructions?\b|"
    r"\byou are now\b"
    r"|\b(vergiss|ignoriere)\b.{0,40}\b(anweisung\w*|regeln)\b",
    re.IGNORECASE | re.DOTALL,
)


def own_words(text: str) -> tuple[str, bool]:
    """What of a request the user says himself, and whether there was more: quotations, fenced and forwarded text."""
    rest = _QUOTE.sub(" ", text)
    quoted = rest != text
    return rest.strip(), quoted


def is_tainted(request: Request, quoted: bool) -> bool:
    """Whether text of others is among what a plan is made from."""
    context = request.context
    return (
        quoted
        or context.tainted
        or any(one.role not in TRUSTED for one in context.conversation)
        or len(request.text) > LONG
        or bool(_PASTED.search(request.text))
    )


def allowed(calls: Sequence[Call], *, tainted: bool) -> tuple[list[Call], list[Call]]:
    """The calls that may be proposed, marked; and those that may not."""
    if not tainted:
        return list(calls), []
    marked = [one.model_copy(update={"tainted": True}) for one in calls]
    return [one for one in marked if one.effect == "read"], [one for one in marked if one.effect != "read"]
