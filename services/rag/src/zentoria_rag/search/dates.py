"""Times in questions: "the invoices from last month" means documents that were made then.

Only what says that a document's own time is meant is taken: a preposition of origin ("from", "since", "of", "dated",
"uploaded in") before a time that is relative, or a day, month or year. "What happened in 1969?" asks for content.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable

_MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan januar", "february feb februar", "march mar märz", "april apr", "may mai", "june jun juni",
         "july jul juli", "august aug", "september sep sept", "october oct oktober okt", "november nov",
         "december dec dezember dez"),
        1,
    )
    for name in names.split()
}  # fmt: skip
_UNITS = {
    "day": "day", "days": "day", "tag": "day", "tage": "day", "tagen": "day",
    "week": "week", "weeks": "week", "woche": "week", "wochen": "week",
    "month": "month", "months": "month", "monat": "month", "monate": "month", "monaten": "month", "monats": "month",
    "quarter": "quarter", "quarters": "quarter", "quartal": "quarter",
    "year": "year", "years": "year", "jahr": "year", "jahre": "year", "jahren": "year", "jahres": "year",
}  # fmt: skip
_NUMBERS = {
    name: number
    for number, names in enumerate(
        ("one a an ein eine einem einer", "two zwei", "three drei", "four vier", "five fünf", "six sechs",
         "seven sieben", "eight acht", "nine neun", "ten zehn"),
        1,
    )
    for name in names.split()
}  # fmt: skip

_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_NUMBER = r"\d{1,3}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True))
_ORIGIN = (
    r"(?:(?:that\s+(?:were|was)\s+|which\s+(?:were|was)\s+)?"
    r"(?:uploaded|added|created|made|written|dated|sent|received|stored|modified|hochgeladen|erstellt)\s+)?"
    r"(?:(?P<since>since|after|seit|ab)|(?P<until>before|until|vor|bis)|from|of|in|during|on|within|dated|von|vom|aus|im|am)"
)
_TIME = re.compile(
    rf"\b(?P<origin>{_ORIGIN})\s+(?:the\s+|dem\s+|der\s+|den\s+)?(?:"
    r"(?P<day>today|yesterday|heute|gestern)"
    rf"|(?P<which>last|past|previous|this|current|letzte[nmrs]?|vergangene[nmrs]?|vorige[nmrs]?|diese[nmrs]?)\s+"
    rf"(?:(?P<count>{_NUMBER})\s+)?(?P<unit>{_UNIT})"
    rf"|(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})"
    rf"|(?P<month>{_MONTH})\.?(?:\s+(?P<myear>(?:19|20)\d{{2}}))?"
    r"|(?P<year>(?:19|20)\d{2}))(?!\w)",
    re.I,
)
_WEAK = frozenset({"in", "of", "on", "im", "am", "during", "von", "aus"})
"""Prepositions that may as well belong to the content; with them, only relative times are taken."""
_THIS = ("this", "current", "diese")


@dataclasses.dataclass(frozen=True)
class Span:
    """A time that was found in a question.

    Args:
        start: where it begins there, with its preposition.
        end: where it ends.
        since: made then or later; None: no matter how early.
        until: made before; None: no matter how late.
    """

    start: int
    end: int
    since: datetime.datetime | None
    until: datetime.datetime | None


def understood(text: str, now: datetime.datetime) -> Span | None:
    """The first time in ``text`` that says when documents were made, or None.

    Args:
        text: a question, in English or German.
        now: with a time zone, in which days begin.
    """
    for found in _TIME.finditer(text):
        origin = found["origin"].split()
        weak = len(origin) == 1 and origin[0].lower() in _WEAK
        relative = bool(found["day"] or found["which"])
        if weak and not relative:
            continue
        if found["month"] and not found["myear"] and found["month"].lower() in ("may", "mar", "mai") and weak:
            continue
        try:
            begin, end = _range(found, now)
        except (ValueError, OverflowError):
            continue
        if found["since"]:
            return Span(found.start(), found.end(), end if found["since"].lower() == "after" else begin, None)
        if found["until"]:
            return Span(found.start(), found.end(), None, begin)
        return Span(found.start(), found.end(), begin, end)
    return None


def without(text: str, span: Span) -> str:
    """The question without the time: its words are in no document."""
    rest = " ".join((text[: span.start] + " " + text[span.end :]).split())
    rest = re.sub(r"\s+([?.!,;:])", r"\1", rest).strip()
    return rest if re.search(r"\w", rest) else text


def _range(found: re.Match[str], now: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime | None]:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    day = datetime.timedelta(days=1)
    if found["day"]:
        begin = today if found["day"].lower() in ("today", "heute") else today - day
        return begin, begin + day
    if found["iso"]:
        date = datetime.date.fromisoformat(found["iso"])
        begin = datetime.datetime.combine(date, datetime.time(), now.tzinfo)
        return begin, begin + day
    if found["year"]:
        begin = today.replace(year=int(found["year"]), month=1, day=1)
        return begin, begin.replace(year=begin.year + 1)
    if found["month"]:
        month = _MONTHS[found["month"].lower()]
        year = int(found["myear"]) if found["myear"] else now.year - (month > now.month)
        begin = today.replace(year=year, month=month, day=1)
        return begin, _months(begin, 1)
    unit, which = _UNITS[found["unit"].lower()], found["which"].lower()
    if found["count"]:
        word = found["count"].lower()
        back = int(word) if word.isdecimal() else _NUMBERS[word]
        return _BACK[unit](today, back), now
    begin = _START[unit](today)
    if which.startswith(_THIS):
        return begin, _BACK[unit](begin, -1)
    return _BACK[unit](begin, 1), begin


def _months(when: datetime.datetime, count: int) -> datetime.datetime:
    """``count`` months later; a day that the month does not have becomes its last one."""
    whole = when.year * 12 + when.month - 1 + count
    year, month = divmod(whole, 12)
    for day in range(when.day, 27, -1):
        try:
            return when.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return when.replace(year=year, month=month + 1)


def _quarter(when: datetime.datetime) -> datetime.datetime:
    return when.replace(month=(when.month - 1) // 3 * 3 + 1, day=1)


_START: dict[str, Callable[[datetime.datetime], datetime.datetime]] = {
    "day": lambda when: when,
    "week": lambda when: when - datetime.timedelta(days=when.weekday()),
    "month": lambda when: when.replace(day=1),
    "quarter": _quarter,
    "year": lambda when: when.replace(month=1, day=1),
}
_BACK: dict[str, Callable[[datetime.datetime, int], datetime.datetime]] = {
    "day": lambda when, count: when - datetime.timedelta(days=count),
    "week": lambda when, count: when - datetime.timedelta(weeks=count),
    "month": lambda when, count: _months(when, -count),
    "quarter": lambda when, count: _months(when, -3 * count),
    "year": lambda when, count: _months(when, -12 * count),
}
