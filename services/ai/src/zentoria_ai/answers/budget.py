"""Fits a question into what the model takes in: what is dropped, and in which order.

The rule: the system prompt and the question stay whole. Then go, until it fits: the oldest turns of the conversation,
then what was remembered (the last first), then the weakest passages; the best passage is shortened at last. Counted is
with the model's own tokenizer, on the whole prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zentoria_common.engine import ContextTooLong, Counted

from zentoria_ai.answers import prompts
from zentoria_ai.engine.model import Engine, Message, counted
from zentoria_ai.retrieval.client import Hit

MARGIN = 8
"""Tokens that are left free: templates of some models add a few that no tokenizer counts."""
SHORTEST = 200
"""Characters of the best passage that are worth sending."""
ROUNDS = 12


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a prompt is made of."""

    system: str
    question: str
    history: tuple[Message, ...] = ()
    memory: tuple[str, ...] = ()
    passages: tuple[Hit, ...] = ()
    now: str | None = None
    shortened: int | None = None
    """Characters that the best passage is cut to."""

    def messages(self) -> list[Message]:
        """The prompt."""
        given = [
            prompts.passage(number, hit, hit.text[: self.shortened] if self.shortened and number == 1 else None)
            for number, hit in enumerate(self.passages, 1)
        ]
        return [
            Message("system", self.system),
            *(Message(one.role, prompts.harmless(one.content)) for one in self.history),
            prompts.asked(self.question, given, self.memory, self.now),
        ]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A prompt that fits.

    Args:
        messages: what is sent.
        counted: tokens of them, by the model's tokenizer.
        passages: those that are in it.
        dropped: what is not, with the reason.
    """

    messages: tuple[Message, ...]
    counted: Counted
    passages: tuple[Hit, ...]
    dropped: tuple[tuple[str, str], ...]


async def fit(engine: Engine, model: str, parts: Parts, budget: int) -> Fitted:
    """Drop by the rule until the prompt has at most ``budget`` tokens.

    Raises:
        ContextTooLong: system prompt and question alone do not fit.
        EngineError: the engine does not count.
    """
    room = budget - MARGIN
    now = parts
    count = await counted(engine, model, now.messages())
    for _ in range(ROUNDS):
        if count.tokens <= room or not (now.history or now.memory or now.passages):
            break
        now = _less(now, count.tokens, room)
        count = await counted(engine, model, now.messages())
    if count.tokens > room:  # texts whose characters make uneven numbers of tokens: the shortest prompt that there is
        now = dataclasses.replace(now, history=(), memory=(), passages=(), shortened=None)
        count = await counted(engine, model, now.messages())
        if count.tokens > room:
            raise ContextTooLong(
                f"the question takes {count.tokens} tokens, and this model has room for {room}: shorten it"
            )
    return Fitted(tuple(now.messages()), count, now.passages, _difference(parts, now, budget))


def _less(parts: Parts, tokens: int, room: int) -> Parts:
    """The next smaller prompt: as much is dropped as the share of characters says, and at least one thing."""
    characters = sum(len(one.content) for one in parts.messages())
    surplus = int(characters * (tokens - room) / tokens) + 1
    if parts.history:
        return dataclasses.replace(
            parts, history=parts.history[_how_many([len(one.content) for one in parts.history], surplus) :]
        )
    if parts.memory:
        sizes = [len(one) for one in reversed(parts.memory)]
        return dataclasses.replace(parts, memory=parts.memory[: len(parts.memory) - _how_many(sizes, surplus)])
    if len(parts.passages) > 1:
        sizes = [len(one.text) for one in reversed(parts.passages[1:])]
        return dataclasses.replace(parts, passages=parts.passages[: len(parts.passages) - _how_many(sizes, surplus)])
    if parts.passages:
        length = (parts.shortened or len(parts.passages[0].text)) - surplus - 16
        if length >= SHORTEST:
            return dataclasses.replace(parts, shortened=length)
    return dataclasses.replace(parts, passages=(), shortened=None)


def _how_many(sizes: Sequence[int], surplus: int) -> int:
    """How many of the first are at least ``surplus`` characters together; at least one, at most all."""
    for number, size in enumerate(sizes, 1):
        surplus -= size
        if surplus <= 0:
            return number
    return len(sizes)


def _difference(whole: Parts, left: Parts, budget: int) -> tuple[tuple[str, str], ...]:
    why = f"the model takes in {budget} tokens"
    found = []
    if turns := len(whole.history) - len(left.history):
        found.append((f"the {turns} oldest messages of the conversation" if turns > 1 else "the oldest message", why))
    if notes := len(whole.memory) - len(left.memory):
        found.append((f"{notes} of {len(whole.memory)} remembered notes", why))
    if hits := len(whole.passages) - len(left.passages):
        found.append((f"{hits} of {len(whole.passages)} passages, the weakest", why))
    if left.shortened is not None and left.passages:
        cut = len(whole.passages[0].text) - left.shortened
        found.append((f"the last {cut} characters of the best passage", why))
    return tuple(found)
