"""Chat: questions are answered elsewhere, from documents; memory is kept by the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import DESTROY, READ, WRITE, Agent, Arguments, Heard, Step

_FORGET = re.compile(r"\b(forget|delete|erase|vergiss|lösche)\b", re.I)
_KNOWS = re.compile(r"\bwhat do you (know|remember)|was weißt du\b", re.I)
_LEAD = re.compile(
    r"^\s*(?:please\s+|bitte\s+)?(?:remember|note|keep in mind|merk dir)(?:\s+(?:that|this)|,?\s+dass)?[:,]?\s*", re.I
)


class ChatAgent(Agent):
    """Talks. A question is no call: the plan says that it is to be answered."""

    name = "chat"
    reads = ("conversations_", "search", "memory_")
    steps: ClassVar[Mapping[str, Step]] = {
        "chat.remember": Step(("memory_add", "memory_create"), WRITE, {"text": "What shall I remember?"}),
        "chat.recall": Step(("memory_list",), READ),
        "chat.forget": Step(("memory_delete", "memory_forget"), DESTROY, {"text": "What shall I forget?"}),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """What is to be remembered."""
        text = _LEAD.sub("", heard.text).strip()
        return {"text": text, "content": text} if intent in ("chat.remember", "chat.forget") and text else {}

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed; nothing, where the answer itself says it."""
        if heard.german:
            return {
                "chat.remember": "Ich merke mir das.",
                "chat.recall": "Das habe ich mir gemerkt.",
                "chat.forget": "Ich würde das vergessen.",
            }.get(intent, "")
        return {
            "chat.remember": "I would remember this.",
            "chat.recall": "This is what I remember.",
            "chat.forget": "I would forget this.",
        }.get(intent, "")


def refined(intent: str, text: str) -> str:
    """What of the memory is meant."""
    if intent != "chat.memory":
        return intent
    return "chat.recall" if _KNOWS.search(text) else "chat.forget" if _FORGET.search(text) else "chat.remember"
