"""Sentences and their intents, from the files that people have."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

NONE = frozenset({"oos", "none", "null", ""})
"""What is written in place of an intent for a sentence that has none of them."""
FILLINGS = 3
"""Sentences that are made of a phrase with slots."""
_SLOT = re.compile(r"\{(\w+)\}")


class DataError(Exception):
    """A file has no sentences as they are read here; the text says where."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Sentences to learn from or to judge.

    Args:
        pairs: each sentence with its intent, None where it has none.
        sha256: of the file.
    """

    pairs: tuple[tuple[str, str | None], ...]
    sha256: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The intents, in alphabetical order."""
        return tuple(sorted({intent for _, intent in self.pairs if intent is not None}))


def read(path: Path, part: str | None = None) -> Data:
    """Read a file.

    It may be YAML with ``intents``, ``none`` and ``slots``, as ``services/ai/intents/intents.yaml``; JSON with a list
    of ``[sentence, intent]``, or with several such lists by name, as CLINC150 has them; or one such pair a line.

    Args:
        path: of the file.
        part: which lists of several, as ``train``: those that have it in their name (``oos_train``). None: all.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"read {path}: {type(error).__name__}: {error}") from None
    try:
        if path.suffix in (".yaml", ".yml"):
            pairs = _yaml(text)
        elif path.suffix == ".jsonl":
            pairs = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            pairs = _json(json.loads(text), part)
        made = tuple((_text(sentence), _label(intent)) for sentence, intent in pairs)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"read {path}: no sentences with intents in it ({type(error).__name__}: {error})") from None
    if not made:
        raise DataError(f"read {path}: no sentences in it" + (f" in '{part}'" if part else ""))
    return Data(made, hashlib.sha256(content).hexdigest())


def _json(found: Any, part: str | None) -> list[Any]:
    if isinstance(found, list):
        return found
    lists = [pairs for name, pairs in found.items() if part is None or name == part or name.endswith(f"_{part}")]
    return list(itertools.chain.from_iterable(lists))


def _yaml(text: str) -> list[tuple[str, str]]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    slots: dict[str, list[str]] = found.get("slots", {})
    made: dict[tuple[str, str], None] = {}
    for intent, phrases in {**found["intents"], "none": found.get("none", [])}.items():
        for number, phrase in enumerate(phrases):
            for sentence in filled(phrase, slots, number):
                made[sentence, intent] = None
    return list(made)


def filled(phrase: str, slots: dict[str, list[str]], number: int) -> list[str]:
    """Sentences of a phrase: each slot takes other values each time, the same in every run.

    Raises:
        KeyError: a slot has no values.
    """
    names = _SLOT.findall(phrase)
    if not names:
        return [phrase]
    found = []
    for time in range(FILLINGS):
        counter = itertools.count(number * 3 + time * 5)
        found.append(_SLOT.sub(lambda slot: str(slots[slot[1]][next(counter) % len(slots[slot[1]])]), phrase))  # noqa: B023 - used at once
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a sentence is text, and not empty")
    return value


def _label(value: Any) -> str | None:
    if value is None or value in NONE:
        return None
    if not isinstance(value, str):
        raise ValueError("an intent is a name, or null")
    return value
