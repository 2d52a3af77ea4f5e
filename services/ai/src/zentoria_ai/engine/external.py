"""Models of others, where the inventory switches them on: OpenAI's and Anthropic's, by OpenAI's routes.

Off by default. Each answer that one of them makes says first that text leaves the house.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import httpx2
from pydantic import SecretStr
from zentoria_common.engine import Counted, Delta, EngineClient, EngineModel, ModelMissing
from zentoria_common.engine import Message as Json

from zentoria_ai.engine.model import Engine


@dataclasses.dataclass(frozen=True)
class Provider:
    """Who has the models.

    Args:
        title: as people know it.
        url: OpenAI's routes there, up to ``/v1``. Anthropic has them too ("OpenAI SDK compatibility").
    """

    title: str
    url: str


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("OpenAI", "https://api.openai.com/v1"),
    "anthropic": Provider("Anthropic", "https://api.anthropic.com/v1"),
}


class _Authorised(httpx2.AsyncBaseTransport):
    """Adds the key to each request; it stands in no setting and no log."""

    def __init__(self, key: SecretStr, inner: httpx2.AsyncBaseTransport) -> None:
        self._key, self._inner = key, inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        request.headers["authorization"] = f"Bearer {self._key.get_secret_value()}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class ExternalEngine:
    """One provider's models as an engine; ``openai:gpt-5`` is its ``gpt-5``.

    Args:
        provider: who.
        key: of the site's account there.
        first: seconds that an answer may take to begin.
        stall: seconds between two pieces of it.
        transport: in place of the network, in tests.
    """

    def __init__(
        self,
        provider: Provider,
        key: SecretStr,
        *,
        first: float,
        stall: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        inner = transport or httpx2.AsyncHTTPTransport(trust_env=False)
        self._client = EngineClient(provider.url, first=first, stall=stall, transport=_Authorised(key, inner))

    async def models(self) -> list[EngineModel]:
        """None: the inventory says which may be chosen."""
        return []

    async def count(self, model: str, messages: Sequence[Json] | str) -> Counted:
        """Tokens of a prompt, estimated: they have no route for it."""
        return await self._client.count(_own(model), messages)

    async def chat(
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
        stream = self._client.chat(
            messages,
            _own(model),
            max_tokens=max_tokens,
            temperature=temperature,
            response_format=response_format,
            tools=tools,
            counted=counted,
        )
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()


class Engines:
    """The engine of each model: the site's own, or a provider's where that model is switched on.

    Args:
        own: the site's.
        external: engines by provider's name, of those whose key is there.
        allowed: names of external models that may be chosen.
    """

    def __init__(self, own: Engine, external: Mapping[str, ExternalEngine], allowed: Sequence[str]) -> None:
        self._own, self._external, self._allowed = own, dict(external), frozenset(allowed)

    def of(self, model: str) -> Engine:
        """The engine of a model.

        Raises:
            ModelMissing: it is an external one, and switched off, or its key is not there.
        """
        provider = provider_of(model)
        if provider is None:
            return self._own
        if model not in self._allowed:
            raise ModelMissing(
                f"{model} is a model of {PROVIDERS[provider].title}: external models are switched off here"
            )
        if provider not in self._external:
            raise ModelMissing(f"there is no key for {PROVIDERS[provider].title}: zentoria/api_keys/{provider}")
        return self._external[provider]

    async def close(self) -> None:
        """End all connections."""
        await self._own.close()
        for one in self._external.values():
            await one.close()


def provider_of(model: str) -> str | None:
    """The provider that a model's name begins with; None: it is one of the site's own."""
    name = model.partition(":")[0]
    return name if name in PROVIDERS and ":" in model else None


def _own(model: str) -> str:
    return model.partition(":")[2]
