"""What a key is to be for, as people say it, and the scopes that this means."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zentoria_common.scopes import SCOPES

from zentoria_ai.entities.dates import Found

_RESOURCES = {
    "files": r"files?|documents?|uploads?|dateien?|dokumente?n?",
    "search": r"search(?:es|ing)?|suche",
    "chat": r"chats?|conversations?|assistant|gespräche?n?|unterhaltungen",
    "workflows": r"workflows?|automations?|abläufe",
    "audit": r"audit(?:[ -]log)?|protokoll",
    "jobs": r"jobs?",
    "keys": r"(?:api[ -])?keys",
    "settings": r"settings|einstellungen",
    "profile": r"profile?",
    "sessions": r"sessions?|sitzungen",
}
_READS = re.compile(
    r"\b(read(?:ing|s)?|read[ -]?only|list(?:ing)?|view(?:ing)?|see|download(?:ing)?|lesen|nur lesen|lesend\w*|"
    r"ansehen)\b",
    re.I,
)
_WRITES = re.compile(
    r"\b(writ(?:e|ing)|upload(?:ing)?|chang(?:e|ing)|delet(?:e|ing)|run(?:ning)?|start(?:ing)?|full|schreib\w*|"
    r"hochladen|ändern)\b",
    re.I,
)
_NAMED = re.compile(r"\b[a-z]+:[a-z]+\b")
_AFTER = re.compile(
    r"\b(?:for|to|on|access to|with|and|or|of|für|auf|zu|zum|und|mit|my|the|all|our|meine|"
    r"alle)\s+(?:[a-z-]+\s+){0,2}?$|[,/&]\s*$",
    re.I,
)


def scopes(text: str) -> Iterator[Found]:
    """Scopes that a text names, by their names or by what they are for; ``value`` has ``scopes``, a list."""
    for match in _NAMED.finditer(text):
        if match.group() in SCOPES:
            yield Found(*match.span(), {"scopes": [match.group()]})
    if not re.search(r"\b(keys?|tokens?|schlüssel|access|zugriff|credentials?)\b", text, re.IGNORECASE):
        return
    reads, writes = bool(_READS.search(text)), bool(_WRITES.search(text))
    for name, pattern in _RESOURCES.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
            if _AFTER.search(text[: match.start()]) is None or text[match.end() : match.end() + 1] == ":":
                continue
            every = [scope for scope in sorted(SCOPES) if scope.startswith(f"{name}:")]
            wanted = [scope for scope in every if _fits(scope, reads=reads, writes=writes)]
            yield Found(*match.span(), {"scopes": wanted or every})


def _fits(scope: str, *, reads: bool, writes: bool) -> bool:
    if reads == writes:
        return True
    return scope.endswith(":read") == reads
