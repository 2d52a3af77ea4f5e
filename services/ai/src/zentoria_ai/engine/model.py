"""What the orchestrator wants of an engine, whichever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol

from zentoria_common.engine import Counted, Delta, EngineError, EngineModel, EngineStalled, ModelMissing
from zentoria_common.engine import Message as Json

Role = Literal["system", "user", "assistant"]
MESSAGE_TOKENS = 8
"""What a chat template puts around a message."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str

    def as_json(self) -> dict[str, str]:
        """As OpenAI's routes have it."""
        return {"role": self.role, "content": self.content}


class Engine(Protocol):
    """What is used of :class:`zentoria_common.engine.EngineClient`."""

    async def models(self) -> list[EngineModel]:
        """What is there."""

    async def count(self, model: str, messages: Sequence[Json] | str) -> Counted:
        """Tokens of a prompt."""

    def chat(
        self,
        messages: Sequence[Json],
        model: str,
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        response_format: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        counted: Counted | None = None,
    ) -> AsyncGenerator[Delta]:
        """An answer, piece by piece."""

    async def close(self) -> None:
        """End all connections."""


async def counted(engine: Engine, model: str, messages: Sequence[Message]) -> Counted:
    """Tokens of a prompt, in one round trip: its texts are counted together."""
    found = await engine.count(model, "\n".join(one.content for one in messages))
    return dataclasses.replace(found, tokens=found.tokens + MESSAGE_TOKENS * (len(messages) + 1))


def kind_of(error: EngineError) -> str:
    """The last part of ``/problems/<kind>``: ``model-missing``, ``engine-stalled``, ``engine-away`` and so on."""
    if isinstance(error, ModelMissing):
        return "model-missing"
    if isinstance(error, EngineStalled):
        return "engine-stalled"
    return {"EngineBusy": "engine-busy", "ContextTooLong": "prompt-too-long", "EngineRefused": "engine-refused"}.get(
        type(error).__name__, "engine-away"
    )
