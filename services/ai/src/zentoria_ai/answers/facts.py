"""Facts of a text that can be checked word by word: numbers, dates, names, addresses."""

# ruff: noqa: RUF001 - people type typographic quotation marks and apostrophes

from __future__ import annotations

import dataclasses
import re
import unicodedata

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan", "januar", "jänner"),
            ("february", "feb", "februar"),
            ("march", "mar", "märz"),
            ("april", "apr"),
            ("may", "mai"),
            ("june", "jun", "juni"),
            ("july", "jul", "juli"),
            ("august", "aug"),
            ("september", "sep", "sept"),
            ("october", "oct", "oktober", "okt"),
            ("november", "nov"),
            ("december", "dec", "dezember", "dez"),
        ),
        1,
    )
    for name in names
}
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
_TOKEN = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # addresses
    r"|\d+(?:[.,:/'’ ](?=\d{3}(?!\d))\d{3})*(?:[.,]\d+)?"  # numbers, with their groups of thousands
    r"|[^\W\d_]+(?:['’\-][^\W\d_]+)*",  # words
)
_COMMON = frozenset(
    [
        "the",
        "a",
        "an",
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "he",
        "she",
        "they",
        "we",
        "i",
        "you",
        "his",
        "her",
        "their",
        "our",
        "your",
        "my",
        "there",
        "here",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "without",
        "of",
        "to",
        "and",
        "or",
        "but",
        "nor",
        "so",
        "yet",
        "if",
        "when",
        "while",
        "as",
        "because",
        "since",
        "until",
        "after",
        "before",
        "according",
        "based",
        "yes",
        "no",
        "not",
        "all",
        "each",
        "every",
        "some",
        "any",
        "both",
        "only",
        "also",
        "however",
        "therefore",
        "thus",
        "then",
        "where",
        "which",
        "who",
        "whose",
        "what",
        "how",
        "why",
        "page",
        "section",
        "chapter",
        "document",
        "passage",
        "file",
        "answer",
        "according",
        "additionally",
        "finally",
        "first",
        "second",
        "third",
        "please",
        "note",
        "der",
        "die",
        "das",
        "ein",
        "eine",
        "es",
        "er",
        "sie",
        "wir",
        "ich",
        "im",
        "in",
        "am",
        "um",
        "von",
        "mit",
        "und",
        "oder",
        "aber",
        "wenn",
        "laut",
        "nach",
        "seite",
    ]
)


_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "sir", "herr", "herrn", "frau"})


@dataclasses.dataclass(frozen=True)
class Fact:
    """Something that stands in a text or does not.

    Args:
        value: as it is compared.
        start: offset of its first character.
        end: offset after its last.
    """

    value: str
    start: int
    end: int


def normal(text: str) -> str:
    """A text for comparing: compatibility forms, lower case, without accents that typists leave out."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def number(text: str) -> str:
    """A number for comparing: ``1,250.00``, ``1.250,00`` and ``1250`` are the same."""
    plain = re.sub(r"[ '’]", "", text)
    match = re.fullmatch(r"(\d+(?:[.,]\d{3})*?)(?:([.,])(\d{1,2}|\d{4,}))?", plain)
    if match:
        whole, fraction = re.sub(r"[.,]", "", match.group(1)), (match.group(3) or "").rstrip("0")
    else:
        whole, fraction = re.sub(r"[.,]", "", plain), ""
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{fraction}" if fraction else whole


def facts(text: str) -> list[Fact]:
    """Numbers, months, addresses and names of a text, in its order.

    A name is a capitalised word that does not begin a sentence, or one in capitals; German nouns count as names, which
    is harmless: they stand in the passage too, or the sentence is in doubt.
    """
    found = []
    begins = True
    last = 0
    for match in _TOKEN.finditer(text):
        between = text[last : match.start()]
        if last == 0 or re.search(r"[.!?:\n•*\-]\s*[\"'“(]*$", between) or re.search(r"^\s*[.!?:]\s|\n", between):
            begins = True
        token, lower = match.group(), match.group().casefold()
        last = match.end()
        if "@" in token:
            found.append(Fact(normal(token), *match.span()))
        elif token[0].isdigit():
            # "3." at a line's start numbers a list item and says nothing
            numbered = (
                begins and re.match(r"[.)]\s", text[match.end() :]) and re.search(r"(^|\n)\s*$", text[: match.start()])
            )
            if not numbered:
                found.append(Fact(number(token), *match.span()))
        elif lower in _MONTHS and token[0].isupper():
            found.append(Fact(f"month:{_MONTHS[lower]}", *match.span()))
        elif lower in _NUMBER_WORDS and lower != "one":
            found.append(Fact(_NUMBER_WORDS[lower], *match.span()))
        elif _is_name(token, begins):
            found.append(Fact(normal(token), *match.span()))
        begins = False
    return found


def _is_name(token: str, begins: bool) -> bool:
    if token.casefold() in _COMMON or token.casefold() in _TITLES or len(token) < 2:
        return False
    if token.isupper():
        return True
    return token[0].isupper() and not begins


class Grounds:
    """What stands in the passages (and the question): facts are looked up in it."""

    def __init__(self, texts: list[str]) -> None:
        self._known: set[str] = set()
        for text in texts:
            for match in _TOKEN.finditer(text):
                token, lower = match.group(), match.group().casefold()
                if "@" in token:
                    self._known.add(normal(token))
                elif token[0].isdigit():
                    self._known |= _spellings(token)
                else:
                    self._known.add(normal(token))
                    self._known |= {normal(part) for part in re.split(r"['’\-]", token) if part}
                    if lower in _MONTHS:
                        self._known.add(f"month:{_MONTHS[lower]}")
                    if lower in _NUMBER_WORDS:
                        self._known.add(_NUMBER_WORDS[lower])
            for year, month, day in re.findall(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b", text):
                self._known |= {number(year), f"month:{int(month)}", number(day)}
            for day, month, year in re.findall(r"\b(\d{1,2})[./](\d{1,2})[./](\d{2,4})\b", text):
                self._known |= {number(day), f"month:{int(month)}", f"month:{int(day)}", number(month), number(year)}

    def has(self, fact: Fact) -> bool:
        """Whether a fact stands there, in one spelling or another."""
        if fact.value in self._known:
            return True
        stem = fact.value.removesuffix("'s").removesuffix("’s")
        parts = re.split(r"['’\-]", stem)
        return stem in self._known or (len(parts) > 1 and all(part in self._known for part in parts if part))


def _spellings(token: str) -> set[str]:
    parts = {number(part) for part in re.split(r"[ ,.:/'’]", token) if part}
    return {number(token)} | parts


def unsupported(text: str, grounds: Grounds) -> list[tuple[int, int]]:
    """Where facts stand that the grounds do not have; neighbours are one stretch."""
    found: list[tuple[int, int]] = []
    for fact in facts(text):
        if grounds.has(fact):
            continue
        if found and not text[found[-1][1] : fact.start].strip(" .,"):
            found[-1] = (found[-1][0], fact.end)
        else:
            found.append((fact.start, fact.end))
    return found
