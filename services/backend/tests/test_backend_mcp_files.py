"""Files by ``/mcp``: tools and resources, from the upload to the deletion that was approved."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from typing import Any

import httpx2
import mcp_types as types
import pytest
from files_kit import uploaded
from gateway_kit import Person, World
from hypothesis import given, settings
from hypothesis import strategies as st
from live_gateway import Live, live
from mcp.shared.exceptions import MCPError
from real_servers import S3Server
from test_backend_mcp import REVISIONS, connected, done, modern, post, refused
from zentoria_backend.mcp import resources
from zentoria_backend.mcp.tools.files import decoded
from zentoria_common.problems import Problem


@pytest.fixture(scope="module")
def stored(world: World, s3_server: S3Server) -> World:
    return dataclasses.replace(world, s3=s3_server)


@pytest.fixture(scope="module")
def gateway(stored: World) -> Iterator[Live]:
    with live(stored.app(sweep_seconds=3600.0, max_body_bytes=8 << 20)) as server:
        yield server


@pytest.fixture
def ada(world: World) -> Person:
    return world.person()


async def put(gateway: Live, person: Person, data: bytes, name: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=60) as http:
        return await uploaded(http, person, data, name)


@pytest.mark.asyncio
async def test_files_are_listed_found_read_in_parts_and_deleted_with_leave(
    gateway: Live, stored: World, ada: Person
) -> None:
    text = "Zeile für Zeile, 🐋\n" * 5000
    one = await put(gateway, ada, text.encode(), "walfang notizen.txt")
    two = await put(gateway, ada, b"\x00\x01\x02" * 50, "bild.bin")
    key = stored.key(ada.id, "files:read", "files:write", "jobs:read", "search:read")
    before = stored.last_audit()
    async with (
        httpx2.AsyncClient(base_url=gateway.url, headers=ada.headers) as web,
        connected(gateway, Authorization=f"Bearer {key}") as client,
    ):
        listed = await done(client, "files_list", {"limit": 1})
        assert [each["id"] for each in listed["items"]] == [two["id"]]
        rest = await done(client, "files_list", {"cursor": listed["next_cursor"]})
        assert [each["id"] for each in rest["items"]] == [one["id"]]
        found = await done(client, "files_search", {"words": "notizen"})
        assert [each["id"] for each in found["items"]] == [one["id"]]
        everything = await done(client, "search", {"words": "walfang"})
        assert ([each["id"] for each in everything["files"]], everything["messages"]) == ([one["id"]], [])
        assert (await done(client, "files_get", {"file_id": one["id"]}))["sha256"] == one["sha256"]
        parts, start = [], 0
        while start is not None:
            part = await done(client, "files_read", {"file_id": one["id"], "start": start, "length": 40_003})
            parts.append(part["text"])
            start = part["next_start"]
        assert "".join(parts) == text and len(parts) == 3
        assert "no text" in await refused(client, "files_read", {"file_id": two["id"]})
        jobs = await done(client, "jobs_list", {})
        assert {each["state"] for each in jobs["items"]} == {"done"}
        assert (await done(client, "jobs_get", {"job_id": jobs["items"][0]["id"]}))["file_id"] == two["id"]
        asked = await done(client, "files_delete", {"file_id": one["id"]})
        assert (await web.post(f"/api/v1/approvals/{asked['approval_id']}/approve")).status_code == 200
        arguments = {"file_id": one["id"], "approval_id": asked["approval_id"]}
        assert (await done(client, "files_delete", arguments))["status"] == "done"
        gone = await web.get(f"/api/v1/files/{one['id']}")
        assert gone.json()["deleted_at"] is not None
    rows = [row for row in stored.audit(after=before) if row["action"] == "mcp.tool"]
    assert {row["details"].get("target") for row in rows if row["resource_id"] == "files_read"} == {
        one["id"],
        two["id"],
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_documents_are_resources(gateway: Live, stored: World, ada: Person, revision: str) -> None:
    one = await put(gateway, ada, "Grüße".encode(), "gruss.txt")
    two = await put(gateway, ada, b"\xff\xd8\xff\xe0" + b"\x00" * 60, "bild.jpg")
    big = await put(gateway, ada, b"x" * (resources.MOST_BYTES + 1), "big.txt")
    theirs = await put(gateway, stored.person("member"), b"secret", "secret.txt")
    before = stored.last_audit()
    async with connected(gateway, revision, Authorization=f"Bearer {stored.key(ada.id, 'files:read')}") as client:
        listed = await client.list_resources()
        assert [(str(each.uri), each.name) for each in listed.resources] == [
            (f"zentoria://files/{each['id']}", each["filename"]) for each in (big, two, one)
        ]
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "zentoria://files/{file_id}"
        (text,) = (await client.read_resource(f"zentoria://files/{one['id']}")).contents
        assert isinstance(text, types.TextResourceContents)
        assert (text.text, text.mime_type) == ("Grüße", one["mime_type"])
        (blob,) = (await client.read_resource(f"zentoria://files/{two['id']}")).contents
        assert isinstance(blob, types.BlobResourceContents)
        assert base64.b64decode(blob.blob)[:4] == b"\xff\xd8\xff\xe0" and blob.mime_type == two["mime_type"]
        for address, said in (
            (theirs["id"], "no such document"),
            ("nonsense", "no such document"),
            (big["id"], "larger than"),
        ):
            with pytest.raises(MCPError, match=said):
                await client.read_resource(f"zentoria://files/{address}")
    rows = [row for row in stored.audit(after=before) if row["action"] == "mcp.tool"]
    assert [row["details"]["outcome"] for row in rows] == ["done", "done", "failed", "failed", "failed"]
    assert rows[0]["details"]["target"] == f"zentoria://files/{one['id']}"


@pytest.mark.asyncio
async def test_without_the_scope_there_are_no_documents(gateway: Live, stored: World, ada: Person) -> None:
    one = await put(gateway, ada, b"hello", "hello.txt")
    key = stored.key(ada.id, "chat:read")
    async with connected(gateway, Authorization=f"Bearer {key}") as client:
        assert (await client.list_resources()).resources == []
    headers, body = modern("resources/read", uri=f"zentoria://files/{one['id']}")
    headers["Mcp-Name"] = f"zentoria://files/{one['id']}"
    answer = await post(gateway, {**headers, "authorization": f"Bearer {key}"}, body)
    assert answer.status_code == 403
    assert "files:read" in answer.headers["www-authenticate"]


@settings(max_examples=50)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), st.integers(0, 160))
def test_parts_of_a_text_make_the_text(text: str, cut: int) -> None:
    data = text.encode()
    cut = min(cut, len(data))
    first, at = decoded(data[:cut], cut, last=cut == len(data))
    second, end = decoded(data[at:], len(data), last=True)
    assert (first + second, end) == (text, len(data))


@pytest.mark.parametrize("data", [b"\xff", b"a\x00b", b"\xc3"])
def test_what_is_no_text(data: bytes) -> None:
    with pytest.raises(Problem):
        decoded(data, len(data), last=True)
