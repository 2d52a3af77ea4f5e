"""System prompts, read from the owner's files, and the messages that are made of a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from zentoria_ai.engine.model import Message
from zentoria_ai.retrieval.client import Hit

Name = Literal["documents", "chat", "plan"]
NAMES: tuple[Name, ...] = ("documents", "chat", "plan")
MOST_CHARACTERS = 20_000
_MARKS = re.compile(r"<\|[^|<>]{0,40}\|>|</?s>|\[/?INST\]|<<?/?SYS>?>|<(?:start|end)_of_turn>", re.IGNORECASE)
"""What separates turns in the templates of common models: in a text it would let its writer speak in another's name."""


class PromptError(Exception):
    """A prompt's file cannot be used; the text names it."""


class Prompts:
    """The system prompts. A file is read anew when it was changed.

    Args:
        folder: has ``documents.txt``, ``chat.txt``, ``plan.txt``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[Name, tuple[int, str]] = {}

    def get(self, name: Name) -> str:
        """The text of one.

        Raises:
            PromptError: there is no such file, or it is empty, too long, or no text.
        """
        path = self._folder / f"{name}.txt"
        try:
            changed = path.stat().st_mtime_ns
            if name in self._kept and self._kept[name][0] == changed:
                return self._kept[name][1]
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"the system prompt {path} cannot be read: {type(error).__name__}") from None
        if not text or len(text) > MOST_CHARACTERS:
            raise PromptError(f"the system prompt {path} is empty or longer than {MOST_CHARACTERS} characters")
        self._kept[name] = (changed, text)
        return text


def harmless(text: str) -> str:
    """A text without what models take for the end of a turn."""
    return _MARKS.sub(" ", text)


def passage(number: int, hit: Hit, text: str | None = None) -> str:
    """One passage as the model sees it."""
    page = f", page {hit.page}" if hit.page else ""
    name = " ".join(harmless(hit.filename).split())
    return f"[{number}] {name}{page}: {' '.join(harmless(hit.text if text is None else text).split())}"


def asked(question: str, passages: Sequence[str], memory: Sequence[str], now: str | None) -> Message:
    """The user's last message, with what it is to be answered from."""
    parts = []
    if memory:
        parts.append("What the user told you to remember:\n" + "\n".join(f"- {harmless(one)}" for one in memory))
    if passages:
        parts.append("Passages:\n" + "\n".join(passages))
    if now:
        parts.append(f"Now it is {harmless(now)}.")
    if not parts:
        return Message("user", harmless(question))
    return Message("user", "\n\n".join([*parts, f"Question: {harmless(question)}"]))
