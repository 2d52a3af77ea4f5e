"""Documents: read, recognised, moved, found, forgotten; killed at each step, they are done once all the same."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from callee_fakes import URLS, Callees
from files_kit import objects
from gateway_kit import AuthService, Person, World, client_of
from real_servers import RedisServer, S3Server
from zentoria_backend.app import create_app
from zentoria_backend.documents import forgetting, queueing, reading
from zentoria_backend.jobs import service as jobs
from zentoria_backend.services import Services, make_services
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import File, FileVersion
from zentoria_schema.embedded import PostgresServer

PDF = b"%PDF-1.7 "


@pytest.fixture(scope="module")
def stored(
    postgres_server: PostgresServer, core_database: str, redis_server: RedisServer, s3_server: S3Server
) -> Iterator[World]:
    redis_server.flush()
    with postgres_server.connect(core_database) as admin:
        yield World(postgres_server, core_database, redis_server, AuthService(), admin, s3_server)


@dataclasses.dataclass
class Desk:
    """A gateway without its queue: a test works at jobs itself."""

    world: World
    services: Services
    callees: Callees
    person: Person
    keys: set[str] = dataclasses.field(default_factory=set)
    """Of what was uploaded."""

    async def document(self, data: bytes, name: str = "fjords.pdf", mime: str = "application/pdf") -> uuid.UUID:
        """A file as an upload leaves it, and its job."""
        key = f"uploads/{self.person.id}/{uuid.uuid4()}"
        await self.services.files.put("uploads", key, data)
        self.keys.add(key)
        values: dict[str, Any] = {
            "bucket": "uploads", "size": len(data), "mime_type": mime, "sha256": hashlib.sha256(data).digest(),
        }  # fmt: skip
        async with self.services.database.session(self.person.id) as session:
            file = File(user_id=self.person.id, filename=name, path=key, version=1, **values)
            session.add(file)
            await session.flush()
            session.add(FileVersion(file_id=file.id, user_id=self.person.id, number=1, object_key=key, **values))
            await session.flush()
            job = await queueing.wanted(session, file, self.services.clock())
        assert job is not None
        return job.id

    async def work(self, job_id: uuid.UUID) -> None:
        """What the queue does with a job, once."""
        kind = await jobs.kind_of(self.services, self.person.id, job_id)
        if await jobs.begin(self.services, self.person.id, job_id) is None:
            return
        try:
            await {queueing.READ: reading.read, queueing.FORGET: forgetting.forget}[kind or ""](
                self.services, self.person.id, job_id
            )
        except Unavailable:
            raise
        except Problem as problem:
            await jobs.fail(self.services, self.person.id, job_id, jobs.described(problem))

    def again(self, job_id: uuid.UUID) -> None:
        """What the sweeper does with a job whose worker died."""
        self.world.admin.execute("update jobs set state = 'queued' where id = %s and state = 'running'", [job_id])

    def job(self, job_id: uuid.UUID) -> Any:
        return self.world.admin.execute("select state, file_id, error from jobs where id = %s", [job_id]).fetchone()

    def versions(self, file_id: uuid.UUID) -> list[Any]:
        return self.world.admin.execute(
            "select number, origin, bucket, object_key from file_versions where file_id = %s order by number", [file_id]
        ).fetchall()

    def state(self, file_id: uuid.UUID) -> str | None:
        row = self.world.admin.execute("select document_state from files where id = %s", [file_id]).fetchone()
        return row[0] if row else "gone"

    def waiting(self, kind: str, file_id: uuid.UUID) -> uuid.UUID:
        row = self.world.admin.execute(
            "select id from jobs where kind = %s and file_id = %s and state = 'queued'", [kind, file_id]
        ).fetchone()
        assert row is not None
        found: uuid.UUID = row[0]
        return found


@pytest_asyncio.fixture
async def desk(stored: World) -> AsyncIterator[Desk]:
    callees = Callees(stored)
    settings = stored.settings(**URLS)
    services = make_services(settings, stored.secrets, identity=stored.auth.gateway, transport=callees)
    yield Desk(stored, services, callees, stored.person())
    await services.close()


@contextlib.asynccontextmanager
async def api(desk: Desk) -> AsyncIterator[httpx2.AsyncClient]:
    """Routes of the desk's gateway; nothing of it works in the background."""
    app = create_app(desk.services.settings, desk.services, ())
    async with client_of(app) as client:
        client.headers.update(desk.person.headers)
        yield client


@pytest.mark.asyncio
async def test_a_text_is_read_moved_and_found(desk: Desk) -> None:
    job_id = await desk.document(PDF + b"text")
    file_id = desk.job(job_id)[1]
    assert desk.state(file_id) == "waiting"
    await desk.work(job_id)
    assert desk.job(job_id)[0] == "done"
    ((number, origin, bucket, key),) = desk.versions(file_id)
    assert (number, origin, bucket) == (1, "upload", "documents")
    assert key in objects(desk.world, "documents")
    assert not objects(desk.world) & desk.keys
    async with api(desk) as client:
        shown = (await client.get(f"/api/v1/files/{file_id}/pages")).json()
        assert (shown["state"], shown["pages"], shown["chunks"], shown["language"]) == ("ready", 3, 3, "en")
        assert [(one["page"], one["state"]) for one in shown["items"]] == [(1, "read"), (2, "read"), (3, "read")]
        assert (await client.get(f"/api/v1/files/{file_id}")).json()["document"] == "ready"
        found = (await client.get("/api/v1/search", params={"q": "fjord"})).json()
        assert [one["page"] for one in found["passages"]] == [1, 2, 3]
        assert found["missing"] == []
        hit = found["passages"][1]
        passage = (await client.get(f"/api/v1/files/{file_id}/passages/{hit['chunk_id']}")).json()
        assert (passage["page"], passage["version"], passage["filename"]) == (2, 1, "fjords.pdf")
        address, _, place = passage["url"].partition("#")
        assert place == "page=2"
        del client.headers["authorization"]
        part = await client.get(address, headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"%PDF")
        wrong = f"{address[:-1]}{'A' if address[-1] != 'A' else 'B'}"
        assert (await client.get(wrong)).status_code == 404
        other = desk.world.person()
        client.headers.update(other.headers)
        assert (await client.get(f"/api/v1/files/{file_id}/passages/{hit['chunk_id']}")).status_code == 404
        assert (await client.get("/api/v1/search", params={"q": "fjord"})).json()["passages"] == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "mime"), [("scan.pdf", "application/pdf"), ("scan.png", "image/png")])
async def test_a_scan_becomes_a_searchable_version(desk: Desk, name: str, mime: str) -> None:
    data = PDF + name.encode()
    desk.callees.unread[hashlib.sha256(data).hexdigest()] = [2, 3]
    job_id = await desk.document(data, name, mime)
    file_id = desk.job(job_id)[1]
    await desk.work(job_id)
    assert desk.job(job_id)[0] == "done"
    assert [(number, origin, bucket) for number, origin, bucket, _ in desk.versions(file_id)] == [
        (1, "upload", "documents"), (2, "ocr", "documents"),
    ]  # fmt: skip
    asked = [(host, path.split("/")[2], body.get("pages")) for host, method, path, body in desk.callees.asked]
    recognition = ("ocr", "recognitions", [2, 3] if mime == "application/pdf" else None)
    reading_first = [("embeddings", "documents", None)] if mime == "application/pdf" else []
    assert asked == [*reading_first, recognition, ("embeddings", "documents", None)]
    async with api(desk) as client:
        shown = (await client.get(f"/api/v1/files/{file_id}/pages")).json()
        assert (shown["state"], shown["version"]) == ("ready", 2)
        first = "read" if mime == "application/pdf" else "recognised"
        assert [one["state"] for one in shown["items"]] == [first, "recognised", "recognised"]
        assert (shown["items"][2]["engine"], shown["items"][2]["confidence"]) == ("tesseract", 93.1)
        file = (await client.get(f"/api/v1/files/{file_id}")).json()
        assert (file["version"], file["mime_type"]) == (2, "application/pdf")
        content = await client.get(f"/api/v1/files/{file_id}/content")
        assert content.content.startswith(b"%PDF-1.7 searchable")
        assert "scan.pdf" in content.headers["content-disposition"]
        first_version = await client.get(f"/api/v1/files/{file_id}/content", params={"version": 1})
        assert first_version.content == data
        assert name in first_version.headers["content-disposition"]


class Killed(BaseException):
    """What a process feels that is killed: nothing of it goes on."""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_killed_at_each_step_it_is_done_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, deadly = 0, 0

    def step(_name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == deadly:
            raise Killed

    desk.callees.step = step
    for name in ("copy", "delete"):
        real = getattr(type(desk.services.files), name)

        async def around(*args: Any, real: Any = real, name: str = name) -> None:
            step(f"before {name}")
            await real(*args)
            step(f"after {name}")

        monkeypatch.setattr(type(desk.services.files), name, around)
    real_session = desk.services.database.session

    @contextlib.asynccontextmanager
    async def session(user_id: int | None = None) -> AsyncIterator[Any]:
        async with real_session(user_id) as opened:
            yield opened
            if user_id is not None:
                step("before commit")
        if user_id is not None:
            step("after commit")

    monkeypatch.setattr(desk.services.database, "session", session)
    moments = 0
    while True:
        data = PDF + moments.to_bytes(2, "big")
        desk.callees.unread[hashlib.sha256(data).hexdigest()] = [1]
        desk.callees.pages = 2
        deadly = 0
        job_id = await desk.document(data)
        file_id = desk.job(job_id)[1]
        steps, deadly = 0, moments + 1
        try:
            await desk.work(job_id)
            killed = False
        except Killed:
            killed = True
        deadly = 0
        desk.again(job_id)
        await desk.work(job_id)
        assert desk.job(job_id)[0] == "done", moments
        versions = desk.versions(file_id)
        assert [(number, origin, bucket) for number, origin, bucket, _ in versions] == [
            (1, "upload", "documents"), (2, "ocr", "documents"),
        ], moments  # fmt: skip
        assert desk.state(file_id) == "ready", moments
        assert {version: len(chunks) for version, chunks in desk.callees.index[str(file_id)].items()} == {2: 2}, moments
        kept = {key for key in objects(desk.world, "documents") if f"/{desk.person.id}/" in key}
        known = desk.world.admin.execute(
            "select object_key from file_versions where user_id = %s", [desk.person.id]
        ).fetchall()
        assert kept == {key for (key,) in known}, moments
        assert not objects(desk.world) & desk.keys, moments
        if not killed:
            break
        moments += 1
    assert moments > 20  # there were that many steps


@pytest.mark.asyncio
async def test_what_is_away_is_waited_for_and_what_is_broken_is_not(desk: Desk) -> None:
    job_id = await desk.document(PDF + b"away")
    file_id = desk.job(job_id)[1]
    desk.callees.away = {"embeddings"}
    with pytest.raises(Unavailable):
        await desk.work(job_id)
    assert desk.state(file_id) == "reading"
    desk.callees.away = set()
    desk.callees.broken_after = 1
    for _ in range(reading.MAX_BROKEN - 1):
        desk.again(job_id)
        with pytest.raises(Unavailable):
            await desk.work(job_id)
    desk.again(job_id)
    await desk.work(job_id)
    state, _, error = desk.job(job_id)
    assert (state, error["type"]) == ("failed", "/problems/document-poison")
    assert desk.state(file_id) == "needs_a_look"
    desk.callees.broken_after = None
    async with api(desk) as client:
        shown = (await client.get(f"/api/v1/files/{file_id}/pages")).json()
        assert shown["error"]["type"] == "/problems/document-poison"
        again = await client.post(f"/api/v1/files/{file_id}/read")
        assert again.status_code == 202
        await desk.work(uuid.UUID(again.json()["id"]))
        assert (await client.get(f"/api/v1/files/{file_id}/pages")).json()["state"] == "ready"


@pytest.mark.asyncio
async def test_a_document_that_cannot_be_read_says_why(desk: Desk) -> None:
    desk.callees.refusal = {"type": "/problems/document-encrypted", "status": 422, "detail": "it wants a password"}
    job_id = await desk.document(PDF + b"secret")
    file_id = desk.job(job_id)[1]
    await desk.work(job_id)
    assert desk.state(file_id) == "needs_a_look"
    async with api(desk) as client:
        shown = (await client.get(f"/api/v1/files/{file_id}/pages")).json()
    assert shown["error"]["detail"] == "it wants a password"


@pytest.mark.asyncio
async def test_deleted_nothing_is_left_and_that_is_proved(desk: Desk) -> None:
    data = PDF + b"gone"
    desk.callees.unread[hashlib.sha256(data).hexdigest()] = [1]
    job_id = await desk.document(data)
    file_id = desk.job(job_id)[1]
    await desk.work(job_id)
    async with api(desk) as client:
        assert (await client.delete(f"/api/v1/files/{file_id}")).status_code == 200
        await desk.work(desk.waiting(queueing.FORGET, file_id))
        assert desk.callees.index == {}
        assert desk.versions(file_id)  # it can be brought back
        assert (await client.post(f"/api/v1/files/{file_id}/restore")).json()["document"] == "waiting"
        await desk.work(desk.waiting(queueing.READ, file_id))
        assert desk.state(file_id) == "ready"
        before = desk.world.last_audit()
        assert (await client.delete(f"/api/v1/files/{file_id}", params={"forever": True})).status_code == 200
        await desk.work(desk.waiting(queueing.FORGET, file_id))
        assert (await client.get(f"/api/v1/files/{file_id}")).status_code == 404
    assert desk.callees.index == {} and desk.callees.recognised == set()
    assert not [
        key for bucket in ("uploads", "documents") for key in objects(desk.world, bucket) if str(file_id) in key
    ]
    for table in ("files", "file_versions", "documents", "document_pages", "jobs"):
        column = "id" if table == "files" else "file_id"
        query = f"select count(*) from {table} where {column} = %s"  # noqa: S608 - a test's own names
        assert desk.world.admin.execute(query, [file_id]).fetchone() == (0,), table
    (row,) = [one for one in desk.world.audit(after=before) if one["action"] == "files.purge"]
    assert row["details"]["objects"] == {"removed": 2, "left": 0}
    assert row["details"]["index"]["left"] == 0
    assert row["details"]["recognised"] == 1


@pytest.mark.asyncio
async def test_deleted_while_it_is_read_it_leaves_the_index(desk: Desk) -> None:
    job_id = await desk.document(PDF + b"meanwhile")
    file_id = desk.job(job_id)[1]

    def step(name: str) -> None:
        if name == "rag done":
            desk.world.admin.execute("update files set deleted_at = now() where id = %s", [file_id])

    desk.callees.step = step
    await desk.work(job_id)
    assert desk.job(job_id)[0] == "cancelled"
    assert desk.callees.index == {}


@pytest.mark.asyncio
async def test_equal_bytes_are_linked(desk: Desk) -> None:
    first, second = await desk.document(PDF + b"same"), await desk.document(PDF + b"same", "copy.pdf")
    for one in (first, second):
        await desk.work(one)
    async with api(desk) as client:
        shown = (await client.get(f"/api/v1/files/{desk.job(second)[1]}/pages")).json()
    assert shown["duplicate_of"] == str(desk.job(first)[1])


@pytest.mark.asyncio
async def test_one_job_at_a_time_works_at_a_document(desk: Desk) -> None:
    first = await desk.document(PDF + b"one")
    file_id = desk.job(first)[1]
    desk.world.admin.execute("update jobs set state = 'running' where id = %s", [first])
    async with api(desk) as client:
        await client.delete(f"/api/v1/files/{file_id}")
    forget = desk.waiting(queueing.FORGET, file_id)
    with pytest.raises(Unavailable):
        await desk.work(forget)
    desk.again(first)
    await desk.work(first)
    desk.again(forget)
    await desk.work(forget)
    assert desk.job(forget)[0] == "done"


@pytest.mark.asyncio
async def test_an_upload_is_read_by_the_queue(stored: World) -> None:
    callees = Callees(stored)
    settings = stored.settings(**URLS, sweep_seconds=3600.0)
    services = make_services(settings, stored.secrets, identity=stored.auth.gateway, transport=callees)
    app = create_app(settings, services, ())
    person = stored.person()
    async with app.router.lifespan_context(app), client_of(app) as client:
        client.headers.update(person.headers)
        while not services.jobs._open:  # the queue connects in the background
            await asyncio.sleep(0.01)
        answer = await client.put("/api/v1/uploads", params={"filename": "a.pdf"}, content=PDF + b"queue")
        assert answer.status_code == 202
        async with asyncio.timeout(60):
            while True:
                files = (await client.get("/api/v1/files")).json()["items"]
                if files and files[0]["document"] == "ready":
                    break
                await asyncio.sleep(0.05)
        listed = (await client.get("/api/v1/jobs")).json()["items"]
        assert {(one["kind"], one["state"]) for one in listed} == {("files.ingest", "done"), ("document", "done")}
