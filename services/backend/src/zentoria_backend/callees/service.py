"""Other containers that the gateway asks: who they are told we are, and what happens while they are away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, TypeVar

import httpx2
import structlog
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from pydantic import BaseModel, ValidationError
from zentoria_common.identity import Identity, OnBehalf
from zentoria_common.problems import Problem

from zentoria_backend.access.context import current_client, request_id
from zentoria_backend.access.principal import Principal

RETRY_SECONDS = 5
"""For how long a container that failed is not asked again; then one request finds out."""
FAILURES = 3
"""In a row, after which it is not asked."""

Model = TypeVar("Model", bound=BaseModel)

_AWAY = frozenset({502, 503, 504})
_log = structlog.stdlib.get_logger("zentoria_backend.callees")


class _NotServing(Exception):
    """It answered that it, or something behind it, does not serve now."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__(str(answer.status_code))
        self.answer = answer


def missing(service: str, detail: str = "", retry_after: int = RETRY_SECONDS) -> Problem:
    """A 503 that names the service that is not there (yet)."""
    return Problem(
        503,
        detail or f"{service} does not answer: it is not installed yet, or it is down",
        kind="service-missing",
        headers={"retry-after": str(retry_after)},
        service=service,
    )


class Callees:
    """Containers by name.

    Args:
        identity: whose calls they are; None where the service has no key, which no container of ours answers.
        urls: base URL by container; one without is missing.
        timeout: seconds that an answer may take.
        transport: for tests.
    """

    def __init__(
        self,
        identity: Identity | None,
        urls: Mapping[str, str | None],
        *,
        timeout: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._identity = identity
        self._urls = dict(urls)
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 2.0)),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        self._seen: dict[str, bool] = {}
        self._breakers = AsyncCircuitBreakerFactory(FAILURES, RETRY_SECONDS, exclude=[asyncio.CancelledError])

    async def call(
        self,
        container: str,
        method: str,
        path: str,
        *,
        user: Principal | OnBehalf | None = None,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx2.Response:
        """Ask a container.

        Args:
            container: its name.
            method: of HTTP.
            path: on it.
            user: for whom; it is told with a short-lived token.
            json: the body.
            params: the query.
            headers: further ones.
            timeout: seconds that the answer may take, where it is a slow one.

        Returns:
            Its answer, read whole, whatever the status but 502, 503 and 504.

        Raises:
            Problem: 503 ``/problems/service-missing``: no such container, no answer, or it does not serve.
        """
        base, sent = self.url(container), self.headers(container, user, headers)
        try:
            async with await self._breakers.get_breaker(container):
                answer = await self._client.request(
                    method,
                    f"{base}{path}",
                    json=json,
                    params=dict(params or {}),
                    headers=sent,
                    timeout=httpx2.Timeout(timeout, connect=2.0) if timeout else httpx2.USE_CLIENT_DEFAULT,
                )
                if answer.status_code in _AWAY and not _its_own(answer):
                    raise _NotServing(answer)
        except OpenedState:
            raise missing(container) from None
        except _NotServing as refusal:
            self._seen[container] = False
            raise missing(container, retry_after=_seconds(refusal.answer)) from None
        except (httpx2.HTTPError, OSError) as error:
            self._seen[container] = False
            _log.warning("container does not answer", dependency=container, error=type(error).__qualname__)
            raise missing(container) from None
        self._seen[container] = True
        if answer.status_code in _AWAY:
            raise missing(container, retry_after=_seconds(answer))
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self,
        container: str,
        method: str,
        path: str,
        *,
        user: Principal | OnBehalf | None = None,
        json: Any = None,
        content: AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float,
    ) -> AsyncIterator[httpx2.Response]:
        """Ask a container whose answer comes in pieces. Who leaves the block ends its work there.

        Args:
            container: its name.
            method: of HTTP.
            path: on it.
            user: for whom.
            json: the body; or:
            content: the body, as it comes.
            headers: further ones.
            silence: seconds for which nothing need come.

        Yields:
            Its answer, of which only the head was read, whatever the status but 502, 503 and 504.

        Raises:
            Problem: 503 ``/problems/service-missing``: no such container, no answer, it does not serve; also in the
                middle of the answer.
        """
        base, sent = self.url(container), self.headers(container, user, headers)
        request = self._client.build_request(
            method,
            f"{base}{path}",
            json=json,
            content=content,
            headers=sent,
            timeout=httpx2.Timeout(silence, connect=2.0, pool=10.0),
        )
        try:
            async with await self._breakers.get_breaker(container):
                answer = await self._client.send(request, stream=True)
                if answer.status_code in _AWAY and not _its_own(answer):
                    await answer.aclose()
                    raise _NotServing(answer)
            self._seen[container] = True
            try:
                if answer.status_code in _AWAY:
                    await answer.aread()
                    raise missing(container, _detail(answer), retry_after=_seconds(answer))
                yield answer
            finally:
                await answer.aclose()
        except OpenedState:
            raise missing(container) from None
        except _NotServing as refusal:
            self._seen[container] = False
            raise missing(container, retry_after=_seconds(refusal.answer)) from None
        except (httpx2.HTTPError, OSError) as error:
            self._seen[container] = False
            _log.warning("container does not answer", dependency=container, error=type(error).__qualname__)
            raise missing(container) from None

    def url(self, container: str) -> str:
        """Where a container is.

        Raises:
            Problem: 503, nobody said where.
        """
        base = self._urls.get(container)
        if not base:
            raise missing(container)
        return base

    def headers(
        self, container: str, user: Principal | OnBehalf | None, more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """What a container is told of a request: who asks, for whom, for which request of whose client."""
        sent = {"user-agent": current_client().user_agent or "zentoria-backend"}
        if (known := request_id()) is not None:
            sent["x-request-id"] = known
        if (address := current_client().address) is not None:
            sent["x-forwarded-for"] = str(address)
        sent |= more or {}
        if self._identity is not None:
            sent |= self._identity.headers(container, user if isinstance(user, OnBehalf) else _on_behalf(user))
        return sent

    def spoken_for(self, container: str, user: Principal | OnBehalf) -> str | None:
        """A token that says to ``container`` for whom it is asked, for one that asks it in our place."""
        if self._identity is None:
            return None
        found = self._identity.headers(container, user if isinstance(user, OnBehalf) else _on_behalf(user))
        return {name.lower(): value for name, value in found.items()}.get("zentoria-user")

    def seen(self, container: str) -> bool | None:
        """Whether it answered when it was asked last; None: nobody has asked since the start."""
        return self._seen.get(container)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _on_behalf(user: Principal | None) -> OnBehalf | None:
    return None if user is None else OnBehalf(user.user_id, user.scopes, user.sid or "")


def _its_own(answer: httpx2.Response) -> bool:
    """Whether it said itself that this request cannot be served now: its directory is away, too many sign in at once.

    It serves others. If such answers counted, whoever can provoke three of them would close it to everybody.
    """
    return answer.headers.get("content-type", "").startswith("application/problem+json")


def _detail(answer: httpx2.Response) -> str:
    """What a container says itself of why it cannot serve this now; it is ours, and says it in words for people."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return ""
    return str(body.get("detail", ""))[:300] if isinstance(body, dict) else ""


def _seconds(answer: httpx2.Response) -> int:
    given = answer.headers.get("retry-after", "")
    return min(max(int(given), 1), 600) if given.isdecimal() and len(given) < 5 else RETRY_SECONDS


def passed_on(answer: httpx2.Response, service: str) -> Any:
    """The JSON of a good answer; a refusal becomes ours, with its kind and members.

    Raises:
        Problem: what the container said with 4xx; 502 for an answer that is none.
    """
    try:
        body = answer.json() if answer.content else None
    except (ValueError, RecursionError):
        raise Problem(502, f"{service} gave an answer that is no JSON", kind="bad-gateway", service=service) from None
    if answer.status_code < 400:
        return body
    if answer.status_code >= 500 or not isinstance(body, dict):
        raise Problem(502, f"{service} failed", kind="bad-gateway", service=service)
    kept = {name: answer.headers[name] for name in ("retry-after",) if name in answer.headers}
    extra = {
        name: value
        for name, value in body.items()
        if name not in ("type", "title", "status", "detail", "request_id", "kind", "headers")
    }
    kind = str(body.get("type", "")).removeprefix("/problems/")
    raise Problem(
        answer.status_code,
        str(body.get("detail", "")),
        kind="" if kind == "about:blank" else kind,
        headers=kept,
        **extra,
    )


def parsed(model: type[Model], value: Any, service: str) -> Model:
    """A container's answer as a model of ours.

    Raises:
        Problem: 502, it has another form.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        _log.error(
            "answer has another form", dependency=service, names=sorted({str(each["loc"]) for each in error.errors()})
        )
        raise Problem(502, f"{service} gave an answer of another form", kind="bad-gateway", service=service) from None
