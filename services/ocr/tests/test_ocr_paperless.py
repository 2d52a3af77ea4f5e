"""Against answers as Paperless-ngx's documentation and version 2 of it give them; the server is not to be had here."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx2
import obstore
import pytest
from ocr_kit import World
from pydantic import SecretStr
from real_servers import S3Server
from zentoria_common.problems import Problem
from zentoria_ocr.paperless.client import Paperless

TASK = "f3a1e1d2-6f2b-4a5c-8a3e-0b1c2d3e4f50"
PDF = b"%PDF-1.7 a document"
TAGS = {"count": 2, "next": None, "previous": None, "all": [1, 2], "results": [
    {"id": 1, "slug": "invoice", "name": "Invoice", "color": "#a6cee3", "text_color": "#000000", "match": "",
     "matching_algorithm": 6, "is_insensitive": True, "is_inbox_tag": False, "document_count": 3, "owner": 3},
    {"id": 2, "slug": "inbox", "name": "Inbox", "color": "#b2df8a", "text_color": "#000000", "match": "",
     "matching_algorithm": 6, "is_insensitive": True, "is_inbox_tag": True, "document_count": 1, "owner": 3},
]}  # fmt: skip
DOCUMENT = {
    "id": 17, "correspondent": None, "document_type": None, "storage_path": None, "title": "Water bill",
    "content": "Water", "tags": [1, 2, 99], "created": "2026-03-12", "created_date": "2026-03-12",
    "modified": "2026-03-14T09:31:12.123456+01:00", "added": "2026-03-14T09:30:00+01:00", "deleted_at": None,
    "archive_serial_number": None, "original_file_name": "scan 1.pdf", "archived_file_name": "Water bill.pdf",
    "owner": 3, "user_can_change": True, "is_shared_by_requester": False, "notes": [], "custom_fields": [],
    "page_count": 1, "mime_type": "application/pdf",
}  # fmt: skip
DONE = {"id": 5, "task_id": TASK, "task_name": "consume_file", "task_file_name": "a.pdf", "status": "SUCCESS",
        "date_created": "2026-03-14T09:30:00+01:00", "date_done": "2026-03-14T09:31:00+01:00", "type": "auto_task",
        "result": "Success. New document id 17 created", "acknowledged": False, "related_document": "17",
        "owner": 3}  # fmt: skip


class Recorded:
    """Answers as the server's, and what was asked."""

    def __init__(self, task: dict[str, Any] | None = None) -> None:
        self.asked: list[httpx2.Request] = []
        self.task = DONE if task is None else task
        self.made = 40

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.asked.append(request)
        assert request.headers["authorization"] == "Token abc"
        assert request.headers["accept"] == "application/json; version=9"
        headers = {"x-api-version": "9", "x-version": "2.18.4"}
        match request.method, request.url.path:
            case "GET", "/api/tags/":
                return httpx2.Response(200, json=TAGS, headers=headers)
            case "POST", "/api/tags/":
                self.made += 1
                return httpx2.Response(201, json={"id": self.made, **json.loads(request.content)}, headers=headers)
            case "GET", "/api/documents/":
                following = "http://127.0.0.1:8000/api/documents/?ordering=modified&page=2&page_size=100"
                whole = {"count": 101, "next": following, "previous": None, "all": [17], "results": [DOCUMENT]}
                return httpx2.Response(200, json=whole, headers=headers)
            case "GET", "/api/documents/17/":
                return httpx2.Response(200, json=DOCUMENT, headers=headers)
            case "GET", "/api/documents/17/download/":
                return httpx2.Response(200, content=PDF, headers={"content-type": "application/pdf", **headers})
            case "POST", "/api/documents/post_document/":
                return httpx2.Response(200, json=TASK, headers=headers)
            case "GET", "/api/tasks/":
                known = request.url.params["task_id"] == TASK
                return httpx2.Response(200, json=[self.task] if known else [], headers=headers)
        return httpx2.Response(404, json={"detail": "Not found."}, headers=headers)


def client(answers: Callable[[httpx2.Request], httpx2.Response]) -> Paperless:
    return Paperless("http://127.0.0.1:8000", SecretStr("abc"), httpx2.MockTransport(answers))


def fields(request: httpx2.Request) -> list[tuple[str, str | None, bytes]]:
    """Fields of a form: name, file name, content."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + request.content).get_payload()
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_filename(), part.get_payload(decode=True))
        for part in parts
    ]


@pytest.mark.asyncio
async def test_a_document_is_put_in_with_its_tags() -> None:
    recorded = Recorded()
    paperless = client(recorded)
    task = await paperless.consume(
        PDF, filename="Müller.pdf", mime="application/pdf", title="Water", created=datetime.date(2026, 3, 12),
        tags=["invoice", "New"],
    )  # fmt: skip
    assert task == TASK
    assert json.loads(recorded.asked[1].content) == {"name": "New"}
    found = fields(recorded.asked[-1])
    assert [(name, value) for name, file, value in found if file is None] == [
        ("tags", b"1"), ("tags", b"41"), ("title", b"Water"), ("created", b"2026-03-12"),
    ]  # fmt: skip
    assert found[-1][0] == "document" and found[-1][2] == PDF
    assert (await paperless.task(TASK)).model_dump() == {"state": "done", "document_id": 17, "detail": None}
    await paperless.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"status": "PENDING", "related_document": None}, ("waiting", None, None)),
        ({"status": "STARTED", "related_document": None}, ("waiting", None, None)),
        (
            {"status": "FAILURE", "result": "a.pdf: Not consuming a.pdf: It is a duplicate of Water bill (#17)"},
            ("failed", None, "it has this document already"),
        ),
        ({"status": "FAILURE", "result": "boom"}, ("failed", None, "it cannot read it")),
        ({"related_document": None, "related_document_ids": [17]}, ("done", 17, None)),
    ],
)
async def test_tasks(change: dict[str, Any], wanted: tuple[str, int | None, str | None]) -> None:
    found = await client(Recorded(DONE | change)).task(TASK)
    assert (found.state, found.document_id, found.detail) == wanted


@pytest.mark.asyncio
async def test_documents_come_with_the_names_of_their_tags() -> None:
    recorded = Recorded()
    since = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    found = await client(recorded).documents(modified_after=since)
    assert (found.count, found.next_page) == (101, 2)
    assert found.documents[0].tags == ("Invoice", "Inbox") and found.documents[0].created == datetime.date(2026, 3, 12)
    assert recorded.asked[0].url.params["modified__gt"] == since.isoformat()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (httpx2.Response(401, json={"detail": "Invalid token."}), 503),
        (httpx2.Response(406, json={"detail": 'Invalid version in "Accept" header.'}), 503),
        (httpx2.Response(404, json={"detail": "Not found."}), 404),
        (httpx2.Response(400, json={"document": ["File type not supported"]}), 422),
        (httpx2.Response(302, headers={"location": "http://127.0.0.1/login"}), 503),
        (httpx2.Response(502, text="<html>"), 503),
        (httpx2.Response(200, text="<html>"), 503),
        (httpx2.Response(200, json={"results": [{"id": "x"}], "count": 1}), 503),
        (httpx2.Response(200, json=["x"]), 503),
    ],
)
async def test_answers_that_are_no_answers(answer: httpx2.Response, status: int) -> None:
    with pytest.raises(Problem) as caught:
        await client(lambda _: answer).documents()
    assert caught.value.status == status


@pytest.mark.asyncio
async def test_a_server_that_is_away_is_told() -> None:
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    found = await client(away).status()
    assert found.state == "away" and found.reason
    assert (await client(Recorded()).status()).model_dump() == {"state": "ready", "reason": None, "version": "2.18.4"}


@pytest.mark.asyncio
async def test_the_gateway_keeps_both_in_step(tmp_path: Path, s3_server: S3Server) -> None:
    token = tmp_path / "token"
    token.write_text("abc")
    token.chmod(0o600)
    world = World(tmp_path, s3_server, paperless_url="http://127.0.0.1:8000", paperless_token_file=token)
    recorded = Recorded()
    world.app.state.paperless = client(recorded)
    world.put(PDF)
    async with world.client() as gateway:

        async def ask(method: str, path: str, **values: Any) -> httpx2.Response:
            return await gateway.request(method, f"/v1/paperless{path}", headers=world.headers(), **values)

        assert (await ask("GET", "")).json()["state"] == "ready"
        body = {"bucket": "uploads", "object_key": "uploads/12/a", "filename": "a.pdf", "tags": ["Invoice"]}
        assert (await ask("POST", "/documents", json=body)).json() == {"task_id": TASK}
        assert (await ask("GET", f"/tasks/{TASK}")).json()["document_id"] == 17
        assert (await ask("GET", "/documents")).json()["documents"][0]["tags"] == ["Invoice", "Inbox"]
        brought = await ask("PUT", "/documents/17/import", json={"object_key": "uploads/12/from-paperless"})
        assert brought.json()["sha256"] == hashlib.sha256(PDF).hexdigest()
        found = obstore.get(s3_server.store("uploads"), "uploads/12/from-paperless").bytes()
        assert bytes(found) == PDF and brought.json()["document"]["title"] == "Water bill"
        assert (await ask("PUT", "/documents/18/import", json={"object_key": "uploads/12/x"})).status_code == 404
        assert (await ask("PUT", "/documents/17/import", json={"object_key": "uploads/13/x"})).status_code == 403
        assert (await ask("POST", "/documents", json=body | {"bucket": "backups"})).status_code == 422


@pytest.mark.asyncio
async def test_where_it_is_not_installed_that_is_said(tmp_path: Path, s3_server: S3Server) -> None:
    world = World(tmp_path, s3_server)
    async with world.client() as gateway:
        answer = await gateway.get("/v1/paperless", headers=world.headers())
        assert answer.json() == {"state": "not installed", "reason": "no source", "version": None}
        answer = await gateway.get("/v1/paperless/documents", headers=world.headers())
        assert answer.status_code == 503 and answer.json()["type"] == "/problems/unavailable"
