"""The routes: OpenAI's for chat, embeddings and models, llama.cpp's for tokens, Ollama's for the version."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from fastapi import APIRouter, Request
from fastapi.responses import Response

from zentoria_engine.answering import chat, json_answer
from zentoria_engine.counted import EngineMetrics
from zentoria_engine.embedder import Embedder
from zentoria_engine.errors import EngineError, bad, failed, too_long
from zentoria_engine.models import Held, Models

MAX_TEXTS = 2048
"""Of one request for vectors, as OpenAI has it."""


def router(models: Models, metrics: EngineMetrics, version: str) -> APIRouter:
    """The routes over some models."""
    made = APIRouter()
    begun = int(time.time())

    @made.get("/api/version")
    async def told() -> dict[str, str]:
        """Say which version this is, as Ollama does: its port's health is asked so."""
        return {"version": version}

    @made.get("/v1/models")
    async def listed() -> dict[str, Any]:
        """List the models, with their states."""
        return {"object": "list", "data": [_entry(held, begun) for held in models.all.values()]}

    @made.get("/v1/models/{name}")
    async def one(name: str) -> dict[str, Any]:
        """One model, with its state."""
        return _entry(models.find(name), begun)

    @made.post("/v1/chat/completions")
    async def completed(request: Request) -> Response:
        """Answer a conversation, at once or in pieces."""
        body = await _body(request)
        held = _talks(models.find(body.get("model")))
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise bad("'messages' must be a list of messages", "messages")
        if body.get("n") not in (None, 1):
            raise bad("one answer at a time: leave 'n' out", "n")
        held.require()
        return chat(held, "/v1/chat/completions", {**body, "model": held.spec.name}, metrics)

    @made.post("/v1/embeddings")
    async def embedded(request: Request) -> Response:
        """Vectors of texts."""
        body = await _body(request)
        held = models.find(body.get("model"))
        if not held.spec.embeds:
            raise bad(f"the model {held.spec.name} makes no vectors", "model")
        texts = _texts(body.get("input"))
        if body.get("dimensions") not in (None, held.spec.dimension):
            raise bad(f"the vectors of {held.spec.name} have {held.spec.dimension} dimensions", "dimensions")
        form = body.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise bad("'encoding_format' is float or base64", "encoding_format")
        held.require()
        return json_answer(lambda: _vectors(held, texts, form, str(body.get("user") or ""), metrics))

    @made.post("/tokenize")
    async def tokenized(request: Request) -> Response:
        """Token ids of a text (``content``), or of a conversation with all that the model's template adds."""
        body = await _body(request)
        held = models.find(body.get("model"))
        content, messages = body.get("content"), body.get("messages")
        if isinstance(messages, list) and messages and not held.spec.embeds:
            held.require()
            return json_answer(lambda: _of_messages(held, messages))
        if not isinstance(content, str):
            raise bad("'content' must be a text, or 'messages' a list of messages", "content")
        held.require()
        return json_answer(lambda: _of_text(held, content))

    return made


def _entry(held: Held, begun: int) -> dict[str, Any]:
    status = held.status()
    return {
        "id": held.spec.name,
        "object": "model",
        "created": begun,
        "owned_by": "zentoria",
        "state": status.state,
        "progress": status.progress,
        "reason": status.reason,
        "loaded": status.loaded,
        "purposes": list(held.spec.purposes),
        "context": held.spec.context,
        "dimension": held.spec.dimension,
    }


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise bad("the body must be JSON") from None
    if not isinstance(body, dict):
        raise bad("the body must be a JSON object")
    return body


def _talks(held: Held) -> Held:
    if held.spec.embeds:
        raise bad(f"the model {held.spec.name} makes vectors, and does not talk", "model")
    return held


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise bad("'input' must be a text or a list of texts", "input")
    if len(texts) > MAX_TEXTS:
        raise bad(f"'input' has {len(texts)} texts: {MAX_TEXTS} at most", "input")
    return texts


async def _vectors(held: Held, texts: Sequence[str], form: str, user: str, metrics: EngineMetrics) -> Mapping[str, Any]:
    begun = time.monotonic()
    async with held.used(user):
        embedder = _loaded(held)
        tokens = await asyncio.to_thread(embedder.tokens, texts)
        longest = max(len(one) for one in tokens)
        if longest > embedder.context:
            raise too_long(longest, embedder.context, "input")
        rows: list[Any] = [None] * len(texts)
        for batch in embedder.batches(tokens):
            # Between two of them it is seen that the asker left.
            found = await asyncio.to_thread(embedder.embed, [tokens[number] for number in batch])
            for number, vector in zip(batch, found, strict=True):
                rows[number] = vector
    count = sum(len(one) for one in tokens)
    metrics.first(held.spec.name, time.monotonic() - begun)
    metrics.tokens(held.spec.name, count, 0)
    data = [
        {"object": "embedding", "index": number, "embedding": row.tolist() if form == "float" else _packed(row)}
        for number, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": held.spec.name, "usage": usage}


def _packed(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _loaded(held: Held) -> Embedder:
    if held.embedder is None:
        raise failed(f"the model {held.spec.name} is not loaded")
    return held.embedder


async def _of_text(held: Held, text: str) -> Mapping[str, Any]:
    if held.spec.embeds:
        await held.ensure()
        (ids,) = await asyncio.to_thread(_loaded(held).tokens, [text])
        return {"tokens": ids, "count": len(ids)}
    return await _tokens(held, {"content": text})


async def _of_messages(held: Held, messages: list[Any]) -> Mapping[str, Any]:
    prompt = (await _asked(held, "/apply-template", {"messages": messages})).get("prompt", "")
    return await _tokens(held, {"content": prompt, "add_special": True, "parse_special": True})


async def _tokens(held: Held, body: Mapping[str, Any]) -> Mapping[str, Any]:
    ids = (await _asked(held, "/tokenize", body)).get("tokens", [])
    return {"tokens": ids, "count": len(ids)}


async def _asked(held: Held, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask a model's process something that takes no turn: it computes nothing."""
    await held.ensure()
    try:
        answer = await held.runner.http.post(path, json=body)
        found = answer.json()
    except (httpx2.HTTPError, ValueError):
        raise failed(f"the model {held.spec.name} gave no answer") from None
    if answer.status_code != 200 or not isinstance(found, dict):
        said = found.get("error") if isinstance(found, dict) else None
        text = said.get("message", "") if isinstance(said, dict) else ""
        raise EngineError(400, "invalid_request", f"the model {held.spec.name} cannot read this: {text}"[:500])
    return found
