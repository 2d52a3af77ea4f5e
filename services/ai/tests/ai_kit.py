"""What tests of the orchestrator stand on: an engine and a retrieval that say what they are told to, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from real_servers import RedisServer
from zentoria_ai.app import create_app, make_probes
from zentoria_ai.intents.classifier import Classifier
from zentoria_ai.intents.service import SHIPPED, Understanding
from zentoria_ai.meaning.embedder import Embedder
from zentoria_ai.plans.service import Planner, Proposer
from zentoria_ai.services import Services, make_services
from zentoria_ai.settings import Secrets, Settings
from zentoria_common.identity import Callers, Identity, OnBehalf
from zentoria_common.server import make_server

ROOT = Path(__file__).resolve().parents[3]
PROMPTS = ROOT / "templates/prompts"
CHAT, USER = "test-model", 7
HANG = object()
"""In a script: nothing comes any more."""
BREAK = object()
"""In a script: the connection is cut."""


def classifier() -> Classifier:
    """The one that is shipped."""
    return Classifier.read(SHIPPED)


def planner(proposer: Proposer | None = None) -> Planner:
    """A planner that knows words alone."""
    return Planner(Understanding(classifier(), Embedder(Path("/nowhere"))), proposer)


def hit(number: int, text: str, filename: str = "lease.pdf", page: int = 1) -> dict[str, Any]:
    """A passage as retrieval gives it."""
    return {
        "chunk_id": f"chunk-{number}", "file_id": f"file-{number}", "version": 2, "sha256": "ab" * 32,
        "filename": filename, "page": page, "boxes": [[0.1, 0.2, 0.9, 0.3]], "heading": None, "text": text,
        "score": 0.5, "words_score": 0.4, "meaning_score": 0.6,
    }  # fmt: skip


class Fakes:
    """An engine (``/v1``, ``/tokenize``) and a retrieval (``/v1/search``) in one server."""

    def __init__(self) -> None:
        self.script: Any = ["Hello", " there."]
        """Pieces of the next answers; or a function of the request's body."""
        self.usage: tuple[int, int] | None = None
        self.models: list[dict[str, Any]] = [{"id": CHAT}, {"id": "bge-small-en-v1.5"}]
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.found: dict[str, Any] | tuple[int, dict[str, Any]] = {"hits": [], "best": 0.0, "supported": False}
        self.chats: list[dict[str, Any]] = []
        self.searches: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.left = asyncio.Event()
        """Set when a caller closed its connection in the midst of an answer."""
        self.hanging = asyncio.Event()
        self.authorised: list[str] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Fakes]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(first.split()[1], headers, json.loads(body or b"null"), reader, writer)
            finally:
                writer.close()

    async def _answer(
        self, path: str, headers: dict[str, str], body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if "authorization" in headers and path == "/v1/chat/completions":
            self.authorised.append(headers["authorization"])
        if path == "/v1/models":
            _json(writer, 200, {"data": self.models})
        elif path == "/tokenize":
            _json(writer, 200, {"tokens": body["content"].split()})
        elif path == "/health/live":
            _json(writer, 200, {"status": "ok"})
        elif path == "/v1/search":
            self.searches.append((body, headers))
            status, found = self.found if isinstance(self.found, tuple) else (200, self.found)
            _json(writer, status, found)
        elif self.refusal is not None:
            _json(writer, self.refusal[0], {"error": self.refusal[1]})
        elif not body.get("stream"):
            self.chats.append(body)
            said = self.script(body) if callable(self.script) else self.script
            message = {"role": "assistant", "content": "".join(said)} if isinstance(said, list) else said
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            whole = {"id": "1", "object": "chat.completion", "created": 1, "model": CHAT, "choices": [choice]}
            _json(writer, 200, whole | {"usage": usage})
        else:
            self.chats.append(body)
            await self._chat(body, reader, writer)
        await writer.drain()

    async def _chat(self, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        pieces: list[Any] = self.script(body) if callable(self.script) else self.script
        for piece in pieces:
            if piece is BREAK:
                return
            if piece is HANG:
                await writer.drain()
                self.hanging.set()
                await reader.read()
                self.left.set()
                return
            _event(writer, {"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
        prompt = sum(len(one["content"].split()) for one in body["messages"]) + 8
        read, written = self.usage or (prompt, len(pieces))
        usage = {"prompt_tokens": read, "completion_tokens": written}
        _event(writer, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
        _event(writer, {"choices": [], "usage": usage})
        writer.write(b"data: [DONE]\n\n")


def _json(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close"
    writer.write(f"{head}\r\n\r\n".encode() + data)


def _event(writer: asyncio.StreamWriter, event: Any) -> None:
    writer.write(f"data: {json.dumps(event)}\n\n".encode())


@dataclasses.dataclass
class World:
    """An orchestrator with its stand-ins, and a gateway that may call it."""

    fakes: Fakes
    services: Services
    client: httpx2.AsyncClient
    gateway: Identity

    def headers(self, user: int | None = USER) -> dict[str, str]:
        """As the gateway sends them."""
        if user is None:
            return self.gateway.headers("ai")
        who = OnBehalf(user, frozenset({"chat:write"}))
        other = self.gateway.headers("embeddings", who)["zentoria-user"]
        return {**self.gateway.headers("ai", who), "zentoria-user-for-embeddings": other}

    async def events(self, body: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """All events of an answer."""
        answer = await self.client.post("/v1/answers", json=body, headers=self.headers(**more))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        return [json.loads(line) for line in answer.text.splitlines()]

    async def ask(self, text: str, **more: Any) -> list[dict[str, Any]]:
        """All events of the answer to one question."""
        return await self.events({"messages": [{"role": "user", "content": text}], **more})

    async def plan(self, text: str, **more: Any) -> dict[str, Any]:
        """A plan."""
        answer = await self.client.post("/v1/plan", json={"text": text, **more}, headers=self.headers())
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextlib.asynccontextmanager
async def world(
    redis: RedisServer, folder: Path, embedding: Path | None = None, **settings: Any
) -> AsyncIterator[World]:
    """An orchestrator on a socket of its own, as it is served."""
    fakes = Fakes()
    gateway = Identity("backend", SecretStr(OKPKey.generate_key("Ed25519").as_pem(private=True).decode()))
    own = Identity("ai", SecretStr(OKPKey.generate_key("Ed25519").as_pem(private=True).decode()))
    async with fakes.serving():
        chosen = {
            "container_name": "ai", "database_host": "127.0.0.1", "database_port": 1, "database_user": "ai",
            "redis_host": redis.host, "redis_port": redis.port, "redis_user": "ai",
            "engine_url": f"{fakes.url}/v1", "rag_url": fakes.url, "chat_model": CHAT, "prompts_folder": PROMPTS,
            "models_folder": embedding.parent if embedding else folder, **settings,
        }  # fmt: skip
        made = Settings(**chosen)
        secrets = Secrets(SecretStr("unused"), SecretStr(redis.password("ai")))
        services = make_services(made, secrets, own)
        app = create_app(made, services, make_probes(made, secrets, services), _callers(gateway))
        server = make_server(made, app)
        async with _served(server) as url, httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            yield World(fakes, services, client, gateway)


def _callers(gateway: Identity) -> Callers:
    return Callers("ai", [OKPKey.import_key(gateway.public_jwk())])


@contextlib.asynccontextmanager
async def _served(server: Any) -> AsyncIterator[str]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        sock.close()


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of a kind."""
    return [one for one in events if one["event"] == kind]


Script = Callable[[dict[str, Any]], list[Any]]
