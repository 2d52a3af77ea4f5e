"""Retrieval in container 419, as the orchestrator asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import httpx2
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from zentoria_common.identity import CALLER_HEADER, USER_HEADER, Identity

CONTAINER = "embeddings"
_log = structlog.stdlib.get_logger("zentoria_ai.retrieval")


class Hit(BaseModel):
    """A passage of one of the user's documents."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_id: str
    file_id: str
    version: int
    sha256: str = ""
    filename: str
    page: int | None = None
    boxes: list[list[float]] = []
    heading: str | list[str] | None = None
    text: str
    score: float = 0.0


class Found(BaseModel):
    """What a search gave."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hits: list[Hit] = []
    best: float = 0.0
    supported: bool = False


class RetrievalError(Exception):
    """Retrieval cannot be used now; the text may be shown."""

    def __init__(self, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.text, self.retry_after = text, retry_after


class Retrieval(Protocol):
    """Where passages come from."""

    async def search(
        self, user: str, query: str, *, limit: int, filters: dict[str, Any], conversation: Sequence[dict[str, str]]
    ) -> Found:
        """Passages for a question.

        Args:
            user: the gateway's word for which user this is, made for retrieval's container.
            query: the question.
            limit: how many at most.
            filters: as retrieval has them.
            conversation: turns before the question, the oldest first.

        Raises:
            RetrievalError: it does not answer, or refuses.
        """

    async def close(self) -> None:
        """Close the connections."""


class RetrievalClient:
    """Retrieval over HTTP.

    Args:
        url: its base.
        identity: whose calls they are; None on a developer's machine.
        timeout: seconds that a search may take.
    """

    def __init__(self, url: str, identity: Identity | None, timeout: float) -> None:
        self._url, self._identity, self._timeout = url.rstrip("/"), identity, timeout
        limits = httpx2.Timeout(timeout, connect=min(timeout, 2.0))
        self._client = httpx2.AsyncClient(timeout=limits, follow_redirects=False, trust_env=False)

    async def search(
        self, user: str, query: str, *, limit: int, filters: dict[str, Any], conversation: Sequence[dict[str, str]]
    ) -> Found:
        """Passages for a question; see :class:`Retrieval`."""
        headers = {USER_HEADER: user}
        if self._identity is not None:
            headers[CALLER_HEADER] = self._identity.headers(CONTAINER)[CALLER_HEADER]
        body: dict[str, Any] = {"query": query, "limit": limit}
        if filters:
            body["filters"] = filters
        if conversation:
            body["conversation"] = list(conversation)
        try:
            answer = await self._client.post(f"{self._url}/v1/search", json=body, headers=headers)
        except httpx2.TimeoutException:
            raise RetrievalError(f"retrieval gave no answer in {self._timeout:g} s", 5) from None
        except (httpx2.HTTPError, OSError) as error:
            _log.warning("retrieval does not answer", error=type(error).__qualname__)
            raise RetrievalError("retrieval does not answer: it is not installed yet, or it is down", 5) from None
        if answer.status_code != 200:
            _log.warning("retrieval refuses", status=answer.status_code)
            raise RetrievalError(f"retrieval refused the search with status {answer.status_code}", _wait(answer))
        try:
            return Found.model_validate_json(answer.content)
        except ValidationError as error:
            names = sorted({str(each["loc"]) for each in error.errors()})
            _log.error("retrieval's answer has another form", names=names)
            raise RetrievalError("retrieval gave an answer of another form") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _wait(answer: httpx2.Response) -> int | None:
    given = answer.headers.get("retry-after", "")
    return int(given) if given.isdecimal() and len(given) < 5 else None
