"""Follow-up questions: "And in Berlin?" is searched together with what it follows. Rules, no model.

A question follows when it leans on something before: a pronoun that nothing in it explains, an opening as "and" or
"what about", or too few words that mean anything. Then the words of the question before are searched as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zentoria_rag.search.schemas import Turn

_OPENING = re.compile(
    r"^\s*(and|but|or|so|also|what about|how about|what else|why|why not|und|aber|oder|auch|was ist mit|wie ist es)\b",
    re.I,
)
_LEANING_WORDS = """
it its they them their theirs that this these those he him his she her hers there then one ones same former latter
er sie es ihn ihm ihr ihre ihren dessen deren das dies diese dieser dieses dort davon dazu dafür darin derselbe
"""
_EMPTY_WORDS = """
a an the of in on at to for with by from as is are was were be been do does did have has had can could will would should
may might must what which who whom whose when where why how and or but so also not no yes please tell me about give show
find i you we us my your our much many more most long old big any some all else
der die den dem des ein eine einen und oder aber auch in im am zu zum zur mit von vom für auf ist sind war waren hat
haben was wer wie wo wann warum welche welcher welches wieviel viel viele mir mich ich wir uns bitte zeig sag
"""
_LEANING = frozenset(_LEANING_WORDS.split())
_EMPTY = _LEANING | frozenset(_EMPTY_WORDS.split())
_WORD = re.compile(r"[^\W_]+(?:[-'.][^\W_]+)*")
FEW = 2
TURNS = 2
"""Questions before that are searched as well, at most: where the last one leans on its own predecessor."""
MOST = 60


def rewritten(query: str, conversation: Sequence[Turn]) -> str:
    """The question as it is searched: itself, or with the words of what it follows."""
    before = [turn.content for turn in conversation if turn.role == "user" and turn.content.strip() != query.strip()]
    if not before or not leans(query):
        return query
    added: list[str] = []
    for text in list(reversed(before))[:TURNS]:
        added = _meaning(text)[:MOST] + added
        if not leans(text):
            break
    known = {word.lower() for word in _WORD.findall(query)}
    rest = [word for word in dict.fromkeys(added) if word.lower() not in known]
    return f"{query} {' '.join(rest)}" if rest else query


def leans(query: str) -> bool:
    """Whether a question cannot be understood alone."""
    words = [word.lower() for word in _WORD.findall(query)]
    meaning = _meaning(query)
    if len(meaning) < FEW:
        return True
    return (bool(_OPENING.match(query)) and len(meaning) <= 4) or (len(meaning) <= 6 and bool(_LEANING & set(words)))


def _meaning(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if word.lower() not in _EMPTY and len(word) > 1]
