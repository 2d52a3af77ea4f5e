"""Texts to vectors, by the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from zentoria_common.engine import EngineClient, EngineError, ModelMissing

from zentoria_rag.models.space import Space
from zentoria_rag.settings import Settings


class Embeds(Protocol):
    """What gives vectors: :class:`zentoria_common.engine.EngineClient`, or a test's own."""

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """Vectors of texts, in their order."""

    async def close(self) -> None:
        """End connections."""


class EngineFails(Exception):
    """No vectors now.

    Args:
        detail: why, for users.
        missing: the engine is there, and the model is not.
    """

    def __init__(self, detail: str, *, missing: bool = False) -> None:
        super().__init__(detail)
        self.detail, self.missing = detail, missing


class Embedder:
    """Vectors of passages and questions, each with what the model wants before it.

    Args:
        engine: who makes them.
        settings: prefixes and the size of a batch.
    """

    def __init__(self, engine: Embeds, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        # Questions wait for one batch of passages at most, not for all of them.
        self._passages = asyncio.Semaphore(1)

    async def passages(self, texts: Sequence[str], space: Space) -> list[list[float]]:
        """Vectors of one batch of passages.

        Raises:
            EngineFails: see there.
            WrongSpace: the model is not what was announced.
        """
        async with self._passages:
            return await self._vectors([self._settings.embedding_passage_prefix + text for text in texts], space)

    async def question(self, text: str, space: Space) -> list[float]:
        """The vector of a question. Raises as :meth:`passages` does."""
        return (await self._vectors([self._settings.embedding_query_prefix + text], space))[0]

    async def close(self) -> None:
        """End connections."""
        await self._engine.close()

    async def _vectors(self, texts: Sequence[str], space: Space) -> list[list[float]]:
        try:
            vectors = await self._engine.embed(texts, space.model)
        except EngineError as error:
            raise EngineFails(str(error), missing=isinstance(error, ModelMissing)) from None
        for vector in vectors:
            space.check(vector)
        return vectors


def open_engine(settings: Settings) -> EngineClient:
    """The engine of the settings."""
    return EngineClient(settings.engine_url, first=120.0)
