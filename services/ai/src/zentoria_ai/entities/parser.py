"""Finds what a sentence names, by rules. No model: the same text gives the same spans, in well under a millisecond."""

# ruff: noqa: RUF001 - people type typographic quotation marks and apostrophes

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

from zentoria_ai.entities import dates, scopes
from zentoria_ai.entities.schemas import Entity, Kind

MOST_CHARACTERS = 4000
"""Of a text; what comes after names nothing."""

_ENDINGS = [
    "pdf",
    "docx?",
    "xlsx?",
    "pptx?",
    "od[tsp]",
    "csv",
    "tsv",
    "txt",
    "md",
    "rtf",
    "html?",
    "eml",
    "msg",
    "png",
    "jpe?g",
    "gif",
    "tiff?",
    "webp",
    "bmp",
    "svg",
    "heic",
    "mp3",
    "wav",
    "m4a",
    "ogg",
    "flac",
    "mp4",
    "mov",
    "mkv",
    "webm",
    "zip",
    "tar",
    "gz",
    "7z",
    "json",
    "ya?ml",
    "xml",
    "epub",
    "py",
    "js",
    "ts",
    "sql",
    "log",
    "ics",
    "vcf",
]
_QUOTED = r"[\"“”„'‘’`«»]"
_INNER = r"[^\"“”„‘’`«»\n]"
_FILE_QUOTED = re.compile(rf"{_QUOTED}(?P<value>{_INNER}{{1,200}}?\.(?:{'|'.join(_ENDINGS)})){_QUOTED}", re.I)
_FILE = re.compile(
    rf"(?<![\w@/.:\\-])(?P<value>[\w(][\w.()+&-]{{0,180}}\.(?:{'|'.join(_ENDINGS)}))(?![\w@])(?!\.\w)", re.I
)
_EMAIL = re.compile(
    r"(?<![\w.+%@-])(?P<value>[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![\w@-])"
)
_URL = re.compile(r"(?P<value>\bhttps?://[^\s<>\"“”'`]{1,2000}|\bwww\.[a-z0-9-]+\.[^\s<>\"“”'`]{2,2000})", re.I)
_NAME = rf"(?:{_QUOTED}(?P<quoted>[^\"“”„‘’`«»'\n]{{1,80}}){_QUOTED}|(?P<plain>[\w][\w&+#./-]{{0,79}}))"
_NOT_NAMES = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "my",
        "our",
        "your",
        "his",
        "her",
        "its",
        "their",
        "all",
        "any",
        "each",
        "every",
        "some",
        "no",
        "new",
        "old",
        "another",
        "other",
        "same",
        "it",
        "is",
        "are",
        "was",
        "were",
        "be",
        "to",
        "in",
        "on",
        "of",
        "for",
        "from",
        "by",
        "with",
        "and",
        "or",
        "as",
        "at",
        "not",
        "please",
        "now",
        "today",
        "it's",
        "called",
        "named",
        "api",
        "which",
        "what",
        "who",
        "when",
        "where",
        "how",
        "do",
        "does",
        "did",
        "can",
        "could",
        "should",
        "will",
        "would",
        "run",
        "start",
        "list",
        "show",
        "make",
        "create",
        "delete",
        "remove",
        "ein",
        "eine",
        "einen",
        "der",
        "die",
        "das",
        "den",
        "dem",
        "des",
        "mein",
        "meine",
        "meinen",
        "mit",
        "und",
        "oder",
        "für",
        "zu",
        "zum",
        "zur",
        "von",
        "im",
        "in",
        "am",
        "an",
        "bitte",
        "jetzt",
        "heute",
        "alle",
        "neue",
        "neuen",
        "neuer",
        "there",
        "have",
        "has",
        "i",
        "you",
        "we",
        "they",
        "me",
        "them",
        "folder",
        "management",
        "plan",
        "manager",
        "files",
        "file",
        "documents",
        "failed",
        "fail",
        "finished",
        "runs",
        "ran",
        "running",
        "that's",
        "stopped",
        "stops",
        "stop",
        "exists",
        "exist",
        "if",
        "once",
        "again",
        "later",
        "tomorrow",
        "yesterday",
    ]
)
_CAPITAL = r"[A-ZÄÖÜ][\w'’-]{1,39}"
_PERSON = re.compile(
    rf"\b(?:to|from|by|with|for|cc|tell|ask|did|has|was|an|von|mit|für|sag)\s+(?P<value>(?:(?:Mr|Mrs|Ms|Dr|Prof|"
    rf"Herrn?|Frau)\.?\s+)?{_CAPITAL}(?:\s+{_CAPITAL}){{0,2}})"
)
_TITLED = re.compile(rf"\b(?P<value>(?:Mr|Mrs|Ms|Dr|Prof|Herrn?|Frau)\.?\s+{_CAPITAL}(?:\s+{_CAPITAL})?)")


def _places(word: str) -> tuple[re.Pattern[str], ...]:
    """``project X``, ``project "X Y"``, ``X project``, ``"X Y" project``."""
    return (
        re.compile(rf"\b(?:{word})\s*(?::|named|called|namens|mit dem namen)?\s+{_NAME}", re.I),
        re.compile(rf"{_QUOTED}(?P<quoted>[^\"“”„‘’`«»'\n]{{1,80}}){_QUOTED}\s+(?:{word})\b", re.I),
        re.compile(
            rf"\b(?:the|my|our|to|in|into|das|mein|dem|den|die|"
            rf"der)\s+(?P<plain>[\w][\w&+#./-]{{0,79}})[ -](?:{word})\b",
            re.I,
        ),
    )


_PROJECT = _places("projects?|projekte?s?|folder|ordner")
_WORKFLOW = _places("workflows?|automation|arbeitsablauf|ablauf")
_KEY = _places("(?:api[ -]?)?(?:keys?|tokens?)|(?:api-)?schlüssel")
_MONTHS = re.compile(
    r"^(January|February|March|April|May|June|July|August|September|October|November|December|Monday|Tuesday|"
    r"Wednesday|Thursday|Friday|"
    r"Saturday|Sunday|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember|Montag|Dienstag|Mittwoch|Donnerstag|Freitag|"
    r"Samstag|Sonntag)\b"
)
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I)


def parse(text: str, now: datetime.datetime) -> list[Entity]:
    """Everything that a text names, in its order. Spans do not overlap.

    Args:
        text: of the user.
        now: with a time zone: "yesterday" is reckoned from it.
    """
    taken: list[Entity] = []
    free = bytearray(len(text))
    for entity in _all(text[:MOST_CHARACTERS], now):
        if entity.start < entity.end and not any(free[entity.start : entity.end]):
            free[entity.start : entity.end] = b"\1" * (entity.end - entity.start)
            taken.append(entity)
    return sorted(taken, key=lambda one: one.start)


def _all(text: str, now: datetime.datetime) -> Iterator[Entity]:
    """In the order of their certainty: what comes first keeps its place."""
    for match in _URL.finditer(text):
        value = match["value"].rstrip(".,;:!?)]}")
        yield _entity("url", text, match.start(), match.start() + len(value), value)
    for match in _EMAIL.finditer(text):
        yield _entity("email", text, *match.span("value"), match["value"].lower())
    for pattern in (_FILE_QUOTED, _FILE):
        for match in pattern.finditer(text):
            yield _entity("file", text, *match.span("value"), match["value"])
    for kind, patterns in (("project", _PROJECT), ("workflow", _WORKFLOW)):
        yield from _named(kind, patterns, text)  # type: ignore[arg-type] # both are kinds
    for found in dates.durations(text):
        yield _entity("duration", text, found.start, found.end, found.value)
    for found in dates.dates(text, now):
        yield _entity("date", text, found.start, found.end, found.value)
    for found in scopes.scopes(text):
        yield _entity("scope", text, found.start, found.end, found.value["scopes"])
    yield from _named("key", _KEY, text)
    for match in (*_TITLED.finditer(text), *_PERSON.finditer(text)):
        if not _MONTHS.match(match["value"]) and match["value"].split()[0].casefold() not in _NOT_NAMES:
            yield _entity("person", text, *match.span("value"), match["value"])


def _named(kind: Kind, patterns: tuple[re.Pattern[str], ...], text: str) -> Iterator[Entity]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            name = "quoted" if groups.get("quoted") else "plain"
            value = groups.get(name)
            if value is None:
                continue
            start = match.start(name)
            if name == "plain":
                value = value.rstrip(".,;:!?/-")
                named = text[: match.start(name)].rstrip().casefold().endswith(("named", "called", "namens", ":"))
                if value.casefold() in _NOT_NAMES or not value or (not named and _is_plain_word(kind, value)):
                    continue
            stripped = value.strip()
            start += len(value) - len(value.lstrip())
            if stripped:
                yield _entity(kind, text, start, start + len(stripped), stripped)


def _is_plain_word(kind: Kind, value: str) -> bool:
    """Whether a word beside "key" is just a word: names of keys have a capital, a digit or a mark, or are quoted."""
    if _UUID.fullmatch(value):
        return False
    return kind == "key" and value.isalpha() and value.islower()


def _entity(kind: Kind, text: str, start: int, end: int, value: Any) -> Entity:
    return Entity(kind=kind, text=text[start:end], start=start, end=end, value=value)
