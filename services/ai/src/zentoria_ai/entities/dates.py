"""Dates, times and durations in English and German: rules, and the calendar."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator

_MONTH = (
    r"jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?|"
    r"sep(?:t|tember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?"
)
_MONTH_STARTS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_GERMAN_STARTS = {"mär": 3, "mai": 5, "okt": 10, "dez": 12}
_DAY_NAMES = {
    name: number
    for number, names in enumerate(
        (
            ("monday", "montag"),
            ("tuesday", "dienstag"),
            ("wednesday", "mittwoch"),
            ("thursday", "donnerstag"),
            ("friday", "freitag"),
            ("saturday", "samstag"),
            ("sunday", "sonntag"),
        )
    )
    for name in names
}
_NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            ("a", "an", "one", "ein", "eine", "einen", "einem", "einer"),
            ("two", "zwei"),
            ("three", "drei"),
            ("four", "vier"),
            ("five", "fünf"),
            ("six", "sechs"),
            ("seven", "sieben"),
            ("eight", "acht"),
            ("nine", "neun"),
            ("ten", "zehn"),
            ("eleven", "elf"),
            ("twelve", "zwölf"),
        ),
        1,
    )
    for word in words
} | {"thirty": 30, "dreißig": 30, "ninety": 90, "neunzig": 90, "sixty": 60, "fourteen": 14, "couple of": 2, "few": 3}
_UNITS = {
    "min": 60,
    "hour": 3600,
    "stunde": 3600,
    "day": 86400,
    "tag": 86400,
    "week": 7 * 86400,
    "woche": 7 * 86400,
    "month": 30 * 86400,
    "monat": 30 * 86400,
    "year": 365 * 86400,
    "jahr": 365 * 86400,
}
_COUNT = r"(?:\d{1,4}|" + "|".join(sorted(map(re.escape, _NUMBERS), key=len, reverse=True)) + r")"
_UNIT = r"(?:minuten?|minutes?|mins?|hours?|stunden?|days?|tage?n?|weeks?|wochen?|months?|monate?n?|years?|jahre?n?)"
_DURATION = re.compile(rf"\b(?P<count>{_COUNT})[\s-]+(?P<unit>{_UNIT})\b", re.IGNORECASE)
_LAST = r"last|past|previous|letzte[nrms]?|vergangene[nrms]?|vorige[nrms]?"
_THIS = r"this|current|diese[nrms]?|aktuelle[nrms]?"
_NEXT = r"next|coming|nächste[nrms]?|kommende[nrms]?"


@dataclasses.dataclass(frozen=True)
class Found:
    """A stretch of a text and what it means."""

    start: int
    end: int
    value: dict[str, object]


def durations(text: str) -> Iterator[Found]:
    """Lengths of time: ``30 days``, ``two weeks``, ``ein Jahr``."""
    for match in _DURATION.finditer(text):
        before = text[: match.start()].rstrip().casefold()
        after = text[match.end() :].lstrip().casefold()
        if after.startswith("ago") or re.search(r"(\bvor|\blast|\bpast|\bletzten|\bvergangenen)$", before):
            continue  # a date
        seconds = _seconds(match["count"], match["unit"])
        if seconds:
            yield Found(match.start(), match.end(), {"seconds": seconds, "days": round(seconds / 86400, 4)})


def _seconds(count: str, unit: str) -> int:
    number = int(count) if count.isdecimal() else _NUMBERS[count.casefold()]
    lower = unit.casefold()
    length = next(seconds for name, seconds in _UNITS.items() if lower.startswith(name))
    return number * length


def dates(text: str, now: datetime.datetime) -> Iterator[Found]:
    """Days and stretches of them, as ``since`` and ``until`` in the time zone of ``now``; ``until`` is not part."""
    for pattern, meaning in _RULES:
        for match in pattern.finditer(text):
            try:
                stretch = meaning(match, now)
            except (ValueError, OverflowError):
                continue  # a 30th of February
            if stretch is not None:
                yield Found(match.start(), match.end(), _stretch(stretch, now))


_Stretch = tuple[datetime.date, datetime.date] | None


def _stretch(found: tuple[datetime.date, datetime.date], now: datetime.datetime) -> dict[str, object]:
    since, until = (datetime.datetime.combine(one, datetime.time(), now.tzinfo) for one in found)
    return {"since": since.isoformat(), "until": until.isoformat()}


def _day(date: datetime.date) -> _Stretch:
    return date, date + datetime.timedelta(days=1)


def _month(year: int, month: int) -> _Stretch:
    return datetime.date(year, month, 1), datetime.date(year + month // 12, month % 12 + 1, 1)


def _number_of_month(name: str) -> int:
    lower = name.casefold()[:3]
    return _GERMAN_STARTS.get(lower) or _MONTH_STARTS.index(lower) + 1


def _iso(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    return _day(datetime.date(int(match[1]), int(match[2]), int(match[3])))


def _dotted(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    year = int(match[3])
    return _day(datetime.date(year + 2000 if year < 100 else year, int(match[2]), int(match[1])))


def _day_month(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    return _day(datetime.date(int(match["year"] or now.year), _number_of_month(match["month"]), int(match["day"])))


def _month_year(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    month = _number_of_month(match["month"])
    # A month without a year is the last one of that name: people look back.
    year = int(match["year"]) if match["year"] else now.year - (month > now.month)
    return _month(year, month)


def _word(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    offsets = {
        "today": 0, "heute": 0, "yesterday": -1, "gestern": -1, "tomorrow": 1, "morgen": 1,
        "tonight": 0, "vorgestern": -2, "übermorgen": 2,
    }  # fmt: skip
    return _day(now.date() + datetime.timedelta(days=offsets[match[1].casefold()]))


def _relative(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    unit, which = match["unit"].casefold(), match["which"]
    step = -1 if re.fullmatch(_LAST, which, re.IGNORECASE) else 1 if re.fullmatch(_NEXT, which, re.IGNORECASE) else 0
    today = now.date()
    if unit.startswith(("week", "woche")):
        monday = today - datetime.timedelta(days=today.weekday() - 7 * step)
        return monday, monday + datetime.timedelta(days=7)
    if unit.startswith(("month", "monat")):
        index = today.year * 12 + today.month - 1 + step
        return _month(index // 12, index % 12 + 1)
    if unit.startswith(("year", "jahr")):
        return datetime.date(today.year + step, 1, 1), datetime.date(today.year + step + 1, 1, 1)
    day = _DAY_NAMES[unit]
    away = (day - today.weekday()) % 7
    if step < 0:
        away = away - 7 if away else -7
    elif step > 0:
        away = away or 7
    return _day(today + datetime.timedelta(days=away))


def _on_day(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    back = (now.date().weekday() - _DAY_NAMES[match[1].casefold()]) % 7
    day = now.date() - datetime.timedelta(days=back)
    if match.group().casefold().startswith(("since", "seit")):
        return day, now.date() + datetime.timedelta(days=1)
    return _day(day)


def _stretch_back(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    days = -(-_seconds(match["count"], match["unit"]) // 86400)
    return now.date() - datetime.timedelta(days=days), now.date() + datetime.timedelta(days=1)


def _ago(match: re.Match[str], now: datetime.datetime) -> _Stretch:
    count, unit = match["count"] or match["count2"], match["unit"] or match["unit2"]
    return _day(now.date() - datetime.timedelta(days=_seconds(count, unit) // 86400))


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], datetime.datetime], _Stretch]]


def _rule(pattern: str, meaning: Callable[[re.Match[str], datetime.datetime], _Stretch]) -> _Rule:
    return re.compile(pattern, re.IGNORECASE), meaning


_NAMES_OF_DAYS = "|".join(_DAY_NAMES)
_RULES: tuple[_Rule, ...] = (
    _rule(r"(?<![\w-])(\d{4})-(\d{2})-(\d{2})(?![\w-])", _iso),
    _rule(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})(?![\w.]\w)", _dotted),
    _rule(
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<month>{_MONTH})\b\.?(?:,?\s+(?P<year>\d{{4}})\b)?",
        _day_month,
    ),
    _rule(
        rf"\b(?P<month>{_MONTH})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d)(?:,?\s+(?P<year>\d{{4}})\b)?",
        _day_month,
    ),
    _rule(rf"\b(?P<month>{_MONTH})\.?\s+(?P<year>\d{{4}})\b", _month_year),
    _rule(
        r"(?:\b(?:in|from|since|of|for|im|seit|vom|aus)\s+)(?P<month>January|February|March|April|May|June|July|"
        r"August|September|October|November|"
        r"December|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember)\b(?P<year>)(?!\s+\d)",
        _month_year,
    ),
    _rule(r"(?<!guten )\b(today|heute|yesterday|gestern|tomorrow|morgen|tonight|vorgestern|übermorgen)\b", _word),
    _rule(
        rf"\b(?P<which>{_LAST}|{_THIS}|{_NEXT})\s+(?P<unit>weeks?|woche|months?|monat|years?|jahr|{_NAMES_OF_DAYS})\b",
        _relative,
    ),
    _rule(rf"\b(?:on|since|am|seit)\s+({_NAMES_OF_DAYS})\b", _on_day),
    _rule(rf"\b(?:the\s+|in\s+den\s+|der\s+)?(?:{_LAST})\s+(?P<count>{_COUNT})\s+(?P<unit>{_UNIT})\b", _stretch_back),
    _rule(
        rf"\b(?P<count>{_COUNT})\s+(?P<unit>{_UNIT})\s+ago\b|\bvor\s+(?P<count2>{_COUNT})\s+(?P<unit2>{_UNIT})\b", _ago
    ),
)
