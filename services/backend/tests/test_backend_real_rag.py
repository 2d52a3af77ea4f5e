"""The gateway before the real retrieval service, both in this process: read, found, cited, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
import uuid
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest
import zentoria_rag.app
import zentoria_rag.services
import zentoria_rag.settings
from callee_fakes import URLS, Callees
from fpdf import FPDF
from gateway_kit import AuthService, World, client_of
from joserfc.jwk import OKPKey
from PIL import Image
from pydantic import SecretStr
from real_servers import RedisServer, S3Server
from zentoria_backend.app import create_app
from zentoria_backend.services import make_services
from zentoria_common.identity import Callers
from zentoria_schema.embedded import PostgresServer

TEXTS = (
    "The harbour of Bergen has eleven piers.",
    "The fjord thaws in May, says the almanac.",
    "Ships wait for pilots.",
)


class WordEngine:
    """Vectors in which each word has a direction: texts with the same words are near."""

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    async def close(self) -> None:
        pass

    def _vector(self, text: str) -> list[float]:
        found = [0.0] * 384
        for word in re.findall(r"[a-z0-9]+", text.lower()):
            found[zlib.crc32(word[:6].encode()) % 384] += 1.0
        length = math.sqrt(sum(value * value for value in found))
        return [value / length for value in found] if length else [1.0] * 384


def pdf(*texts: str) -> bytes:
    made = FPDF()
    for text in texts:
        made.add_page()
        made.set_font("Helvetica", size=12)
        if text:
            made.multi_cell(0, 6, text)
    return bytes(made.output())


def scanned(pages: int) -> bytes:
    made = FPDF()
    for number in range(pages):
        made.add_page()
        made.image(Image.new("RGB", (200, 200), (10 * number, 90, 90)), 20, 20, 100)
    return bytes(made.output())


class Containers(Callees):
    """Retrieval is real; text recognition gives the pages that it is meant to find."""

    retrieval: httpx2.ASGITransport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "embeddings.test":
            return await self.retrieval.handle_async_request(request)
        return await super().handle_async_request(request)

    async def _recognise(self, digest: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        assert self.world.s3 is not None
        self.recognised.add(digest)
        made, key = pdf(*TEXTS), f"{body['prefix']}/{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"
        self.world.s3.store("documents").put(key, made)
        for page in body["pages"]:
            yield {"event": "page", "page": page, "state": "done", "confidence": 91.0, "engine": "tesseract"}
        yield {
            "event": "done", "bucket": "documents", "object_key": key, "sha256": hashlib.sha256(made).hexdigest(),
            "size": len(made), "mime": "application/pdf", "pages": [],
        }  # fmt: skip


@contextlib.asynccontextmanager
async def both(world: World, vectors: str) -> AsyncIterator[tuple[httpx2.AsyncClient, Containers]]:
    assert world.s3 is not None
    settings = zentoria_rag.settings.Settings.model_validate(
        {
            "database_host": world.postgres.host,
            "database_port": world.postgres.port,
            "database_name": vectors,
            "database_user": "embeddings",
            "s3_endpoint": world.s3.endpoint,
            "s3_access_key": "embeddings",
            "engine_url": "http://127.0.0.1:9/v1",
        }
    )
    secrets = zentoria_rag.settings.Secrets(SecretStr("unused"), SecretStr(world.s3.secret_key("embeddings")))
    services = zentoria_rag.services.make_services(settings, secrets, engine=WordEngine())
    callers = Callers("embeddings", [OKPKey.import_key(world.auth.gateway.public_jwk())])
    rag = zentoria_rag.app.create_app(settings, services, (), callers)
    containers = Containers(world)
    containers.retrieval = httpx2.ASGITransport(app=rag)
    ours = world.settings(**URLS, sweep_seconds=1.0)
    app = create_app(ours, make_services(ours, world.secrets, identity=world.auth.gateway, transport=containers), ())
    async with rag.router.lifespan_context(rag), app.router.lifespan_context(app), client_of(app) as client:
        client.headers.update(world.person().headers)
        yield client, containers


async def document(client: httpx2.AsyncClient, file_id: str, *states: str | None) -> dict[str, Any]:
    """The document, in one of these states."""
    async with asyncio.timeout(120):
        while True:
            shown: dict[str, Any] = (await client.get(f"/api/v1/files/{file_id}/pages")).json()
            if shown.get("state") in states:
                return shown
            await asyncio.sleep(0.1)


async def upload(client: httpx2.AsyncClient, name: str, data: bytes) -> str:
    answer = await client.put("/api/v1/uploads", params={"filename": name}, content=data)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(120):
        while True:
            for one in (await client.get("/api/v1/files")).json()["items"]:
                if one["filename"] == name:
                    return str(one["id"])
            await asyncio.sleep(0.1)


@pytest.mark.asyncio
async def test_a_text_and_a_scan_are_found_cited_and_forgotten(
    postgres_server: PostgresServer,
    core_database: str,
    vectors_database: str,
    redis_server: RedisServer,
    s3_server: S3Server,
) -> None:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        world = World(postgres_server, core_database, redis_server, AuthService(), admin, s3_server)
        async with both(world, vectors_database) as (client, containers):
            text = await upload(client, "harbour.pdf", pdf(TEXTS[0], TEXTS[2]))
            scan = await upload(client, "almanac.pdf", scanned(3))
            assert [one["state"] for one in (await document(client, text, "ready"))["items"]] == ["read", "read"]
            shown = await document(client, scan, "ready", "needs_a_look", "failed")
            assert (shown["state"], shown["version"], shown["pages"]) == ("ready", 2, 3), shown
            assert {one["state"] for one in shown["items"]} == {"recognised"}
            found = (await client.get("/api/v1/search", params={"q": "When does the fjord thaw?"})).json()
            assert found["missing"] == []
            best = found["passages"][0]
            assert (best["file_id"], best["page"], best["version"]) == (scan, 2, 2)
            passage = (await client.get(f"/api/v1/files/{scan}/passages/{best['chunk_id']}")).json()
            assert "thaws in May" in passage["text"]
            assert passage["boxes"]
            content = await client.get(passage["url"].partition("#")[0])
            assert hashlib.sha256(content.content).hexdigest() == passage["sha256"]
            assert (await client.patch(f"/api/v1/files/{scan}", json={"project": "Norway"})).status_code == 200
            async with asyncio.timeout(60):  # a chore tells retrieval of it
                while not (await client.get("/api/v1/search", params={"q": "fjord thaw", "project": "Norway"})).json()[
                    "passages"
                ]:
                    await asyncio.sleep(0.1)
            before = world.last_audit()
            assert (await client.delete(f"/api/v1/files/{scan}", params={"forever": True})).status_code == 200
            async with asyncio.timeout(120):
                while (await client.get(f"/api/v1/files/{scan}")).status_code != 404:
                    await asyncio.sleep(0.1)
            (row,) = [one for one in world.audit(after=before) if one["action"] == "files.purge"]
            assert row["details"]["index"]["left"] == 0 and row["details"]["index"]["vectors"] >= 3
            with postgres_server.connect(vectors_database) as vectors:
                query = "select count(*) from documents where file_id = %s"
                assert vectors.execute(query, [scan]).fetchone() == (0,)
            assert containers.recognised == set()
            left = (await client.get("/api/v1/search", params={"q": "fjord thaw"})).json()["passages"]
            assert scan not in {one["file_id"] for one in left}
