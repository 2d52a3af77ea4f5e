"""Retrieval, text recognition, speech and the orchestrator by their contracts; answers come in pieces."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from gateway_kit import World
from zentoria_common.identity import OnBehalf

URLS = {
    "ai_url": "http://ai.test",
    "ocr_url": "http://ocr.test",
    "rag_url": "http://embeddings.test",
    "voice_url": "http://voice.test",
}
Step = Callable[[str], None]


class _Lines(httpx2.AsyncByteStream):
    def __init__(self, lines: AsyncIterator[dict[str, Any]]) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for line in self._lines:
            yield json.dumps(line).encode() + b"\n"

    async def aclose(self) -> None:
        await self._lines.aclose()  # type: ignore[attr-defined] # they are generators


class Callees(httpx2.AsyncBaseTransport):
    """Stands for the containers behind the gateway, with the state that they would have.

    Args:
        world: whose object storage text recognition writes to, and whose auth service answers.
        step: is told of each thing that happens, and may raise what a killed process would feel like.
    """

    def __init__(self, world: World, step: Step = lambda _name: None) -> None:
        self.world, self.step = world, step
        self.index: dict[str, dict[int, list[dict[str, Any]]]] = {}
        """Chunks of each document's versions in the index."""
        self.unread: dict[str, list[int]] = {}
        """Pages without a text layer, by the SHA-256 of the content."""
        self.pages = 3
        self.away: set[str] = set()
        self.refusal: dict[str, Any] | None = None
        """The last line of retrieval in place of ``done``."""
        self.broken_after: int | None = None
        self.asked: list[tuple[str, str, str, dict[str, Any]]] = []
        self.users: list[OnBehalf] = []
        self.recognised: set[str] = set()
        self.plan: dict[str, Any] = {"intent": None, "calls": []}
        self.answer: list[dict[str, Any]] = []
        self.hold: asyncio.Event | None = None
        """An answer waits for it after its first event."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """In which answers are written."""
        self.left = asyncio.Event()
        """Whoever heard an answer has left."""
        self._auth = world.auth.transport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host.removesuffix(".test")
        if host == "auth":
            return await self._auth.handle_async_request(request)
        if host in self.away:
            raise httpx2.ConnectError("refused", request=request)
        content = await request.aread()
        kind = request.headers.get("content-type", "")
        body = json.loads(content) if content and kind.startswith("application/json") else {"raw": content}
        self.asked.append((host, request.method, request.url.path, body))
        self.step(f"{host} {request.method}")
        assert "zentoria-caller" in request.headers
        parts = request.url.path.strip("/").split("/")
        match (host, request.method, *parts):
            case ("embeddings", "PUT", "v1", "documents", file_id, "versions", version):
                return self._lines(self._read(file_id, int(version), body))
            case ("embeddings", "DELETE", "v1", "documents", file_id):
                gone = self.index.pop(file_id, {})
                count = sum(len(chunks) for chunks in gone.values())
                return self._json({"rows": count, "vectors": count, "left": 0})
            case ("embeddings", "GET", "v1", "chunks", chunk_id):
                for chunk in self.chunks():
                    if chunk["chunk_id"] == chunk_id:
                        return self._json(chunk)
                return httpx2.Response(404, json={"type": "about:blank", "status": 404, "title": ""})
            case ("embeddings", "POST", "v1", "search"):
                words = set(body["query"].lower().split())
                hits = [one for one in self.chunks() if words & set(one["text"].lower().split())]
                return self._json({"hits": hits[: body["limit"]], "understood": {}, "supported": bool(hits)})
            case ("embeddings", "POST", "v1", "messages", "search"):
                return self._json({"hits": []})
            case ("embeddings", "PUT" | "PATCH" | "DELETE", *_):
                return self._json({})
            case ("ocr", "PUT", "v1", "recognitions", digest):
                return self._lines(self._recognise(digest, body))
            case ("ocr", "DELETE", "v1", "recognitions", digest):
                there = digest in self.recognised
                self.recognised.discard(digest)
                return httpx2.Response(204 if there else 404, json=None if there else {"status": 404})
            case ("ai", "POST", "v1", "intent"):
                return self._json({"intent": self.plan.get("intent"), "confidence": 0.9, "entities": []})
            case ("ai", "POST", "v1", "plan"):
                return self._json(self.plan)
            case ("ai", "POST", "v1", "answers"):
                return self._lines(self._answer())
            case ("ai", "GET", "v1", "models"):
                return self._json({"items": [{"id": "small", "state": "ready"}]})
            case ("voice", "POST", "v1", "audio", "transcriptions"):
                return self._json({"text": f"{len(content)} bytes", "language": "en"})
            case ("voice", "POST", "v1", "audio", "speech"):
                return httpx2.Response(200, content=b"RIFF" + bytes(1000), headers={"content-type": "audio/wav"})
        raise AssertionError(f"{host} {request.method} {request.url.path} is none of the contract")

    def chunks(self) -> list[dict[str, Any]]:
        return [chunk for versions in self.index.values() for chunks in versions.values() for chunk in chunks]

    async def _read(self, file_id: str, version: int, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        store = self.world.s3.store(body["bucket"]) if self.world.s3 else None
        if store is not None:
            data = bytes(store.get(body["object_key"]).bytes())
            assert hashlib.sha256(data).hexdigest() == body["sha256"]
        unread = self.unread.get(body["sha256"], [])
        chunks = []
        for page in range(1, self.pages + 1):
            self.step("rag page")
            if self.broken_after is not None and page > self.broken_after:
                raise httpx2.ReadError("broken")
            state = "unread" if page in unread else "read"
            if state == "read":
                chunks.append(
                    {
                        "chunk_id": str(uuid.uuid5(uuid.UUID(file_id), f"{version} {page}")),
                        "file_id": file_id,
                        "version": version,
                        "sha256": body["sha256"],
                        "filename": body["filename"],
                        "page": page,
                        "boxes": [[0.1, 0.1, 0.9, 0.2]],
                        "text": f"fjord thaws on page {page}",
                        "score": 1.0,
                    }
                )
            yield {"event": "page", "page": page, "pages": self.pages, "state": state, "chunks": int(state == "read")}
        if self.refusal is not None:
            yield {"event": "error", **self.refusal}
            return
        self.index.setdefault(file_id, {})[version] = chunks
        for older in [one for one in self.index[file_id] if one < version]:
            del self.index[file_id][older]
        self.step("rag done")
        yield {
            "event": "done", "pages": self.pages, "chunks": len(chunks), "unread": unread, "language": "en",
            "title": "Fjords", "duplicate_of": None,
        }  # fmt: skip

    async def _recognise(self, digest: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        assert self.world.s3 is not None
        self.recognised.add(digest)
        for page in body["pages"] or range(1, self.pages + 1):
            self.step("ocr page")
            yield {"event": "page", "page": page, "state": "done", "confidence": 93.1, "engine": "tesseract"}
        made = b"%PDF-1.7 searchable " + digest.encode()
        key = f"{body['prefix']}/{digest[:32]}"
        self.world.s3.store("documents").put(key, made)
        self.step("ocr done")
        yield {
            "event": "done", "bucket": "documents", "object_key": key, "sha256": hashlib.sha256(made).hexdigest(),
            "size": len(made), "mime": "application/pdf", "pages": [],
        }  # fmt: skip

    async def _answer(self) -> AsyncIterator[dict[str, Any]]:
        self.loop = asyncio.get_running_loop()
        try:
            for number, event in enumerate(self.answer):
                if number == 1 and self.hold is not None:
                    await self.hold.wait()
                yield event
        finally:
            self.left.set()

    def _lines(self, lines: AsyncIterator[dict[str, Any]]) -> httpx2.Response:
        return httpx2.Response(200, stream=_Lines(lines), headers={"content-type": "application/x-ndjson"})

    def _json(self, value: Any) -> httpx2.Response:
        return httpx2.Response(200, json=value)
