"""What the orchestrator depends on, and what it only says of others: without engine or retrieval it still serves."""

from __future__ import annotations

import httpx2
from zentoria_common.engine import EngineError
from zentoria_common.health.probe import Probe, ProbeError

from zentoria_ai.engine.model import Engine
from zentoria_ai.meaning.embedder import Embedder


class Lenient:
    """A dependency that is asked, and whose failure is only said: answers are made without it."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    @property
    def name(self) -> str:
        """The dependency's."""
        return self._probe.name

    async def ask(self) -> dict[str, str]:
        """Ask it."""
        try:
            return {"state": "ready", **await self._probe.ask()}
        except ProbeError as error:
            return {"state": "degraded", "error": error.reason}

    async def close(self) -> None:
        """Give its connections back."""
        await self._probe.close()


class EngineProbe:
    """Says what the engine has. It never fails: a model that is being fetched is no reason to restart anything."""

    name = "engine"

    def __init__(self, engine: Engine, model: str, embedder: Embedder) -> None:
        self._engine, self._model, self._embedder = engine, model, embedder

    async def ask(self) -> dict[str, str]:
        """Ask for its models."""
        meaning = "ready" if self._embedder.ready else "missing"
        try:
            models = {one.id: one for one in await self._engine.models()}
        except EngineError as error:
            return {"state": "degraded", "engine": type(error).__name__, "embedding": meaning}
        state = models[self._model].state if self._model in models else "missing"
        whole = "ready" if state == meaning == "ready" else "degraded"
        return {"state": whole, "model": self._model, "model_state": state, "embedding": meaning}

    async def close(self) -> None:
        """Nothing of its own is open."""


class RetrievalProbe:
    """Says whether retrieval answers. It never fails: retrieval starts after the orchestrator."""

    name = "retrieval"

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(1.0), trust_env=False)

    async def ask(self) -> dict[str, str]:
        """Ask whether it lives."""
        if self._url is None:
            return {"state": "not installed"}
        try:
            answer = await self._client.get(f"{self._url}/health/live")
        except (httpx2.HTTPError, OSError):
            return {"state": "degraded"}
        return {"state": "ready" if answer.status_code == 200 else "degraded"}

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
