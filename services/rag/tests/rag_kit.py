"""What tests of retrieval stand on: real PostgreSQL and S3, an application, and an engine whose vectors are words."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import re
import uuid
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import obstore
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from real_servers import S3Server
from zentoria_common.engine import EngineAway
from zentoria_common.identity import Callers, Identity, OnBehalf
from zentoria_rag.app import create_app
from zentoria_rag.index.model import VectorIndex
from zentoria_rag.services import Services, make_services
from zentoria_rag.settings import Secrets, Settings
from zentoria_schema.embedded import PostgresServer

GATEWAY = Identity("backend", SecretStr(OKPKey.generate_key("Ed25519").as_pem(private=True).decode()))
CALLERS = Callers("embeddings", [OKPKey.import_key(GATEWAY.public_jwk())])
DIMENSION = 384
WORD = re.compile(r"[a-zäöüß0-9]+")


class WordEngine:
    """Vectors in which each word has a direction: texts with the same words are near. Counts what it was asked."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.dimension = dimension
        self.texts: list[str] = []
        self.away = False
        self.after: int | None = None
        """After so many texts more it is away."""
        self.waits: asyncio.Event | None = None
        """Nothing is answered before it is set."""
        self.asked = asyncio.Event()

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        self.asked.set()
        if self.waits is not None:
            await self.waits.wait()
        if self.after is not None:
            self.after -= len(texts)
        if self.away or (self.after is not None and self.after < 0):
            raise EngineAway("the engine does not answer")
        self.texts += texts
        return [self.vector(text, model) for text in texts]

    async def close(self) -> None:
        pass

    def vector(self, text: str, model: str = "") -> list[float]:
        found = [0.0] * self.dimension
        for word in WORD.findall(text.lower()):
            found[zlib.crc32(f"{model}{word[:6]}".encode()) % self.dimension] += 1.0
        length = math.sqrt(sum(value * value for value in found)) or 1.0
        return [value / length if any(found) else 1.0 for value in found]


@dataclasses.dataclass
class World:
    """One service, with a database of this module's own."""

    postgres: PostgresServer
    database: str
    s3: S3Server
    engine: WordEngine

    def settings(self, **changes: Any) -> Settings:
        values = {
            "database_host": self.postgres.host,
            "database_port": self.postgres.port,
            "database_name": self.database,
            "database_user": "embeddings",
            "s3_endpoint": self.s3.endpoint,
            "s3_access_key": "embeddings",
            "engine_url": "http://127.0.0.1:9/v1",
        }
        return Settings.model_validate(values | changes)

    def secrets(self) -> Secrets:
        return Secrets(SecretStr("unused"), SecretStr(self.s3.secret_key("embeddings")))

    def services(self, index: VectorIndex | None = None, **changes: Any) -> Services:
        return make_services(self.settings(**changes), self.secrets(), engine=self.engine, index=index)

    @contextlib.asynccontextmanager
    async def client(self, index: VectorIndex | None = None, **changes: Any) -> AsyncIterator[Client]:
        services = self.services(index, **changes)
        app = create_app(services.settings, services, (), CALLERS)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://embeddings.test") as http:
                yield Client(http, services, self.s3)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.postgres.connect(self.database) as connection:
            return [tuple(row) for row in connection.execute(statement, values).fetchall()]  # type: ignore[arg-type] # a test's own


@dataclasses.dataclass
class Client:
    """Calls routes as the gateway does."""

    http: httpx2.AsyncClient
    services: Services
    s3: S3Server

    async def ask(self, method: str, path: str, body: Any = None, user: int | None = 1) -> httpx2.Response:
        whom = OnBehalf(user, frozenset({"files:read"})) if user is not None else None
        return await self.http.request(method, path, json=body, headers=GATEWAY.headers("embeddings", whom))

    async def json(self, method: str, path: str, body: Any = None, user: int | None = 1) -> Any:
        answer = await self.ask(method, path, body, user)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def store(self, data: bytes, key: str = "") -> dict[str, Any]:
        """Put an object where the gateway does; what a call says of it."""
        key = key or f"1/{uuid.uuid4()}"
        await obstore.put_async(self.s3.store("uploads"), key, data)
        return {"bucket": "uploads", "object_key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    async def read(
        self,
        data: bytes,
        filename: str,
        mime: str = "application/octet-stream",
        *,
        file_id: uuid.UUID | None = None,
        version: int = 1,
        user: int = 1,
        **more: Any,
    ) -> tuple[uuid.UUID, list[dict[str, Any]]]:
        """Have a document read; its id, and the events."""
        file_id = file_id or uuid.uuid4()
        body = {**await self.store(data), "filename": filename, "mime": mime, **more}
        answer = await self.ask("PUT", f"/v1/documents/{file_id}/versions/{version}", body, user)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            return file_id, [{"event": "error", **answer.json()}]
        assert answer.headers["content-type"] == "application/x-ndjson"
        return file_id, [json.loads(line) for line in answer.text.splitlines()]

    async def search(self, query: str, user: int = 1, **more: Any) -> Any:
        return await self.json("POST", "/v1/search", {"query": query, **more}, user)


def ago(days: float) -> str:
    """A time so many days before now."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)).isoformat()
