"""Client of the engine for language models (container 405, port 11434): chat, embeddings, models, tokens.

The interface is OpenAI's, which Ollama and llama.cpp's server both have. What they have besides differs: llama.cpp
counts tokens (``/tokenize``), Ollama does not; then tokens are estimated, and rather too many than too few. Either way
the engine's own count comes with the answer (:class:`Usage`), and :meth:`EngineClient.chat` says when it differs so
much that something was cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, NoReturn

import httpx2

State = Literal["ready", "fetching", "loading", "failed"]
Message = Mapping[str, Any]
"""``{"role": ..., "content": ...}``."""

CONNECT_SECONDS = 3.0
FIRST_SECONDS = 600.0
"""Until the first token: a model may have to be loaded, others may be before us, a long prompt is read slowly."""
STALL_SECONDS = 60.0
"""Between two tokens."""
BYTES_PER_TOKEN = 2.0
"""Where no tokenizer can be asked. English has four bytes a token and German three; code and digits come near two."""
MOST_BYTES_PER_TOKEN = 12
"""No text in a language has more."""
MESSAGE_TOKENS = 8
"""What a chat template puts around a message: role and marks; four to seven with the usual ones."""
MAX_LINE = 1 << 20
"""Bytes of one event of a stream."""


class EngineError(Exception):
    """The engine did not do what was asked. The text can be shown to users; ``retry`` says whether later is better."""

    retry = False

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        """Seconds, where the engine said so."""


class ModelMissing(EngineError):
    """The engine does not have that model, or not yet."""

    retry = True


class EngineAway(EngineError):
    """Nobody answers, or the answer broke off, or it was none."""

    retry = True


class EngineBusy(EngineAway):
    """Its queue is full."""


class EngineStalled(EngineAway):
    """It answers, and nothing more came for too long."""


class ContextTooLong(EngineError):
    """Prompt and answer do not fit into the model's context."""


class EngineRefused(EngineError):
    """It found the question wrong: a mistake of ours."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True)
class Delta:
    """A piece of an answer.

    Args:
        text: to be appended; empty in the last one.
        finish: why the answer ended (``stop``, ``length``, ``tool_calls``); None before that.
        tool_calls: pieces of calls, as OpenAI's stream has them.
        usage: in the last one.
    """

    text: str = ""
    finish: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    usage: Usage | None = None


@dataclasses.dataclass(frozen=True)
class EngineModel:
    """A model that the engine knows. ``progress`` is 0 to 1 while it is being fetched, ``reason`` why it failed."""

    id: str
    state: State = "ready"
    progress: float | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Counted:
    """Tokens of a prompt.

    Args:
        tokens: rather too many than too few: with what a chat template puts around messages.
        least: what an engine reads of it in any case.
        exact: whether the model's own tokenizer counted its text.
    """

    tokens: int
    least: int
    exact: bool


class EngineClient:
    """Asks one engine. One for a service; :meth:`close` ends its connections. Safe to use by many tasks at once.

    Args:
        url: up to ``/v1``, as ``http://10.10.40.5:11434/v1``.
        first: seconds that an answer may take to begin.
        stall: seconds between two pieces of it.
        transport: in place of the network, in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        first: float = FIRST_SECONDS,
        stall: float = STALL_SECONDS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = url.rstrip("/")
        self._root = self._base.removesuffix("/v1")
        self._first, self._stall = first, stall
        self._counts: bool | None = None
        """Whether it has ``/tokenize``; None: nobody asked yet."""
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS), trust_env=False, transport=transport
        )

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()

    async def chat(
        self,
        messages: Sequence[Message],
        model: str,
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        response_format: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        counted: Counted | None = None,
        **more: Any,
    ) -> AsyncGenerator[Delta]:
        """Ask for an answer, piece by piece. Whoever leaves the iteration ends the generation (``aclose``).

        Args:
            messages: the conversation.
            model: its name.
            max_tokens: of the answer.
            temperature: 0 gives the same answer each time.
            response_format: as ``{"type": "json_schema", "json_schema": {...}}``.
            tools: OpenAI's, passed on.
            counted: the prompt, as :meth:`count` counted it: an engine that says that it read less has cut it, and that
                is an error.
            more: further members of the request.

        Raises:
            EngineError: one of its kinds; also in the midst of the answer.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [dict(one) for one in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": temperature,
            **more,
        }
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if response_format is not None:
            body["response_format"] = dict(response_format)
        if tools:
            body["tools"] = [dict(one) for one in tools]
        whole = False
        async with contextlib.aclosing(self._events("/chat/completions", body)) as events:
            async for event in events:
                delta = _delta(event)
                whole = whole or delta.finish is not None
                read = delta.usage.prompt_tokens if delta.usage is not None else 0
                if counted is not None and 0 < read < counted.least:
                    raise ContextTooLong(f"the engine read {read} of {counted.tokens} tokens: it cut the rest")
                if delta.text or delta.finish or delta.tool_calls or delta.usage:
                    yield delta
        if not whole:
            raise EngineAway("the engine's answer broke off before its end")

    async def answer(self, messages: Sequence[Message], model: str, **more: Any) -> tuple[str, Usage | None]:
        """The whole answer at once; arguments and errors as :meth:`chat` has them."""
        text: list[str] = []
        usage = None
        async with contextlib.aclosing(self.chat(messages, model, **more)) as deltas:
            async for delta in deltas:
                text.append(delta.text)
                usage = delta.usage or usage
        return "".join(text), usage

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """Vectors of texts, in their order.

        Raises:
            EngineError: one of its kinds.
        """
        if not texts:
            return []
        found = await self._json("POST", f"{self._base}/embeddings", {"model": model, "input": list(texts)})
        try:
            rows = sorted(found["data"], key=lambda one: int(one["index"]))
            vectors = [[float(value) for value in one["embedding"]] for one in rows]
        except (KeyError, TypeError, ValueError):
            raise EngineAway("the engine's answer holds no vectors") from None
        if len(vectors) != len(texts):
            raise EngineAway(f"the engine gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def models(self) -> list[EngineModel]:
        """What the engine has, or is fetching.

        Raises:
            EngineError: one of its kinds.
        """
        found = await self._json("GET", f"{self._base}/models")
        try:
            return [
                EngineModel(
                    str(one["id"]).removesuffix(":latest"),  # Ollama's word for a name without a tag
                    one.get("state", "ready"),
                    one.get("progress"),
                    one.get("reason"),
                )
                for one in found["data"]
            ]
        except (KeyError, TypeError, AttributeError):
            raise EngineAway("the engine's answer is no list of models") from None

    async def count(self, model: str, messages: Sequence[Message] | str) -> Counted:
        """Tokens of a conversation (or of a text) for a model, with what its template adds.

        Raises:
            EngineError: one of its kinds.
        """
        if self._counts is not False:
            whole: dict[str, Any] = (
                {"content": messages} if isinstance(messages, str) else {"messages": [dict(one) for one in messages]}
            )
            found = await self._tokens({"model": model, **whole})
            if found is not None:
                return Counted(found, max(0, found - MESSAGE_TOKENS), exact=True)
        texts = [messages] if isinstance(messages, str) else [_text(one) for one in messages]
        around = 0 if isinstance(messages, str) else MESSAGE_TOKENS * (len(texts) + 1)
        least = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // MOST_BYTES_PER_TOKEN
        return Counted(sum(estimated(text) for text in texts) + around, least, exact=False)

    async def _tokens(self, body: Mapping[str, Any]) -> int | None:
        """Tokens of a text or of a conversation with its template; None: this engine does not count."""
        answer = await self._asked("POST", f"{self._root}/tokenize", body)
        if answer.status_code in (404, 405, 501) and _code(answer) != "model_not_found":
            self._counts = False
            return None
        found = self._read(answer)
        self._counts = True
        try:
            return len(found["tokens"])
        except (KeyError, TypeError):
            raise EngineAway("the engine's answer holds no tokens") from None

    async def _json(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._read(await self._asked(method, url, body))

    async def _asked(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._first):
                return await self._http.request(method, url, json=body)
        except TimeoutError:
            raise EngineStalled(f"the engine gave no answer in {self._first:g} s") from None
        except httpx2.HTTPError as error:
            raise EngineAway(f"the engine does not answer ({type(error).__name__})") from None

    @staticmethod
    def _read(answer: httpx2.Response) -> Any:
        if answer.status_code != 200:
            _raise(answer)
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise EngineAway("the engine's answer is no JSON") from None

    async def _events(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        """Events of a stream (``data: {...}`` lines, and ``data: [DONE]``)."""
        try:
            request = self._http.build_request("POST", self._base + path, json=body)
            async with asyncio.timeout(self._first):
                answer = await self._http.send(request, stream=True)
        except TimeoutError:
            raise EngineStalled(f"the engine gave no answer in {self._first:g} s") from None
        except httpx2.HTTPError as error:
            raise EngineAway(f"the engine does not answer ({type(error).__name__})") from None
        try:
            if answer.status_code != 200:
                await answer.aread()
                _raise(answer)
            async with contextlib.aclosing(self._lines(answer)) as lines:
                async for line in lines:
                    name, _, data = line.partition(":")
                    if name not in ("data", "error"):
                        continue  # a comment that keeps the connection open, or another field of an event
                    if name == "error":  # as llama.cpp has it
                        _raise_error(_json_of(data), 500, None)
                    if data.strip() == "[DONE]":
                        return
                    yield _event(data)
        except httpx2.HTTPError as error:
            raise EngineAway(f"the engine's answer broke off ({type(error).__name__})") from None
        finally:
            await answer.aclose()

    async def _lines(self, answer: httpx2.Response) -> AsyncGenerator[str]:
        """Lines of an answer. What keeps the connection open is no sign of life of the model: it ends no wait."""
        rest = b""
        limit = self._first
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        async with contextlib.aclosing(answer.aiter_bytes()) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await anext(chunks, None)
                except TimeoutError:
                    raise EngineStalled(f"the engine stalled: nothing came for {limit:g} s") from None
                if chunk is None:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE:
                    raise EngineAway("the engine's answer is no stream of events")
                for line in lines:
                    yield line.decode("utf-8", "replace").rstrip("\r")
                if any(line.startswith(b"data:") for line in lines):
                    # Its time begins when it is asked again: who reads slowly is not the engine's fault.
                    limit = self._stall
                    until = loop.time() + limit


def estimated(text: str) -> int:
    """Tokens of a text, rather too many than too few, without a tokenizer.

    A byte-level tokenizer has at most one token a byte; text outside of ASCII comes near that.
    """
    ascii_bytes = sum(1 for one in text if one < "\x80")
    return math.ceil(ascii_bytes / BYTES_PER_TOKEN) + (len(text.encode("utf-8", "surrogatepass")) - ascii_bytes)


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def _json_of(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _event(data: str) -> Mapping[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise EngineAway("the engine sent something that is no JSON") from None
    if not isinstance(event, Mapping):
        raise EngineAway("the engine sent something that is no event")
    if "error" in event:
        _raise_error(event["error"], 500, None)
    return event


def _delta(event: Mapping[str, Any]) -> Delta:
    try:
        choices = event.get("choices") or [{}]
        piece = choices[0].get("delta") or {}
        usage = event.get("usage")
        return Delta(
            text=str(piece.get("content") or ""),
            finish=choices[0].get("finish_reason"),
            tool_calls=tuple(piece.get("tool_calls") or ()),
            usage=Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, LookupError):
        raise EngineAway("the engine sent an event of another form") from None


def _body(answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def _code(answer: httpx2.Response) -> str:
    body = _body(answer)
    error = body.get("error") if isinstance(body, Mapping) else None
    return str(error.get("code", "")) if isinstance(error, Mapping) else ""


def _raise(answer: httpx2.Response) -> NoReturn:
    body = _body(answer)
    after = answer.headers.get("retry-after", "")
    seconds = float(after) if after.isdecimal() else None
    _raise_error(body.get("error") if isinstance(body, Mapping) else None, answer.status_code, seconds)


def _raise_error(error: Any, status: int, retry_after: float | None) -> NoReturn:
    """Make of an error of OpenAI's form, Ollama's or llama.cpp's one of ours."""
    found: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": error or f"HTTP {status}"}
    text, kind = str(found.get("message", ""))[:500], f"{found.get('code', '')} {found.get('type', '')}"
    low = text.lower()
    if "context_length_exceeded" in kind or "exceed_context_size" in kind or "exceeds the available context" in low:
        raise ContextTooLong(text)
    if "model_not_found" in kind or "model_loading" in kind or status == 404 or "try pulling it" in low:
        raise ModelMissing(text, retry_after=retry_after)
    if status in (429, 503):
        raise EngineBusy(text or "the engine is busy", retry_after=retry_after)
    if status >= 500:
        raise EngineAway(text or f"the engine failed (HTTP {status})", retry_after=retry_after)
    raise EngineRefused(text or f"the engine refused (HTTP {status})")


__all__ = [
    "ContextTooLong", "Counted", "Delta", "EngineAway", "EngineBusy", "EngineClient", "EngineError", "EngineModel",
    "EngineRefused", "EngineStalled", "ModelMissing", "Usage", "estimated",
]  # fmt: skip
