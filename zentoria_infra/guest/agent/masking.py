"""Keeps secrets out of what is reported, even in pieces: programs quote parts of what they were given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

GRAM = 8
"""No piece of a secret that is this long, or longer, is reported."""
SHORTEST = 3
"""What is shorter is no secret but an answer, as psql's ``t``: without its letters no error could be read."""
TAIL = 6000
"""Characters of a command's output that are reported, from its end."""
BLOT = "********"
_LARGEST = 256 * 1024
_SHORT = re.compile(r"'([^'\n]{3,7})'|\"([^\"\n]{3,7})\"|[=:>]\s*([^\s'\"=:>]{3,7})(?=\s|$)")
"""Short values within secret text: quoted, or behind a sign."""
_PLAIN = re.compile(r"[\s=_*#-]+")
"""Pieces that are no secret: decoration."""


class Mask:
    """Replaces whatever is part of a secret of the state. Costs nothing until something is reported.

    Args:
        resources: of the state. Secret are the content of secret files, the input of secret commands, and the
            environment of a release, unless the state has it as a file that is none.
    """

    def __init__(self, resources: Iterable[dict[str, Any]]) -> None:
        self._resources = list(resources)

    def __call__(self, text: str) -> str:
        """The text without pieces of secrets."""
        if not text:
            return text
        grams, short = self._secrets()
        hidden = bytearray(len(text))
        for start in range(len(text) - GRAM + 1):
            if text[start : start + GRAM] in grams:
                hidden[start : start + GRAM] = b"\1" * GRAM
        shown = "".join("\0" if hidden[at] else character for at, character in enumerate(text))
        for word in sorted(short, key=len, reverse=True):
            shown = shown.replace(word, "\0")
        return re.sub("\0+", BLOT, shown)

    def tail(self, text: str) -> str:
        """The end of an output, masked before it is cut: half a secret would not be known any more."""
        return self(text)[-TAIL:]

    def _secrets(self) -> tuple[set[str], set[str]]:
        grams: set[str] = set()
        short: set[str] = set()
        for secret in self._texts():
            if SHORTEST <= len(secret.strip()) < GRAM:
                short.add(secret.strip())
            pieces = (secret[start : start + GRAM] for start in range(len(secret) - GRAM + 1))
            grams.update(piece for piece in pieces if not _PLAIN.fullmatch(piece))
            short.update(word for found in _SHORT.findall(secret) for word in found)
        return grams, {word for word in short if word}

    def _texts(self) -> Iterator[str]:
        # Settings of our services hold no secret: with their host names and paths blotted out no error could be read.
        plain = {one["path"] for one in self._resources if one["kind"] == "file" and not one["secret"]}
        for resource in self._resources:
            kind = resource["kind"]
            if kind == "command" and resource["secret"]:
                for key in ("check_stdin", "apply_stdin", "expect"):
                    yield resource[key] or ""
            elif kind == "file" and resource["secret"]:
                yield resource["text"] or ""
                yield _content(resource["path"])
            elif kind == "release" and resource["environment_file"] not in (None, *plain):
                yield _content(resource["environment_file"])


def _content(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
