from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import psutil
import pytest
from ocr_kit import ENGLISH, GERMAN, World, joined, page, png, saved, scan, texts, with_text, word_error
from PIL import Image
from real_servers import S3Server
from zentoria_ocr.recognition.documents import pdf_of_image

PATIENCE = 200.0


@pytest.fixture
def world(tmp_path: Path, s3_server: S3Server) -> World:
    return World(tmp_path, s3_server)


def children() -> list[list[str]]:
    """Command lines of processes that read documents, and of what they started."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            line = one.cmdline()
            if one.status() != psutil.STATUS_ZOMBIE and any("zentoria_ocr" in word or "hocr" in word for word in line):
                found.append(line)
    return found


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_a_scan_becomes_searchable_and_is_read_once(world: World) -> None:
    async with world.client() as client:
        content = scan(page(angle=1.5), page(GERMAN))
        events = await world.recognise(client, content, prefix="documents/12/file")
        assert [one["event"] for one in events] == ["page", "page", "done"]
        done = events[-1]
        assert done["object_key"].startswith("documents/12/file/") and done["mime"] == "application/pdf"
        assert [(one["page"], one["state"], one["engine"]) for one in done["pages"]] == [
            (1, "done", "tesseract"), (2, "done", "tesseract"),
        ]  # fmt: skip
        assert all(one["confidence"] > 80 for one in done["pages"])
        first, second = texts(world.result(done))
        assert word_error(first, " ".join(ENGLISH)) <= 0.1
        assert word_error(second, " ".join(GERMAN)) <= 0.1
        # Who comes again gets the same key, and the pages are not read anew.
        before = {path: path.stat().st_mtime_ns for path in (world.folder / "state/pages").rglob("*.pdf")}
        again = (await world.recognise(client, content, prefix="documents/12/file"))[-1]
        assert again["object_key"] == done["object_key"]
        assert before == {path: path.stat().st_mtime_ns for path in (world.folder / "state/pages").rglob("*.pdf")}
        assert not list((world.folder / "state/work").iterdir())
        sha256 = next((world.folder / "state/pages").iterdir()).name
        assert (await client.delete(f"/v1/recognitions/{sha256}", headers=world.headers())).status_code == 204
        assert not list((world.folder / "state/pages").iterdir())


@pytest.mark.asyncio
@pytest.mark.slow
async def test_only_pages_that_are_asked_for_are_read(world: World) -> None:
    content = joined(scan(page()), with_text(), scan(page()))
    async with world.client() as client:
        one = await world.recognise(client, content, pages=[3])
        assert [event["page"] for event in one if event["event"] == "page"] == [3]
        found = texts(world.result(one[-1]))
        assert not found[0].strip() and "text layer" in found[1] and "Invoice" in found[2]
        every = await world.recognise(client, content)
        assert [one["state"] for one in every[-1]["pages"]] == ["done", "skipped", "done"]
        assert all(text.strip() for text in texts(world.result(every[-1])))
        assert one[-1]["object_key"] != every[-1]["object_key"]


@pytest.mark.parametrize(
    ("kind", "mime", "mode"),
    [("PNG", "image/png", "RGBA"), ("PNG", "image/png", "P"), ("PNG", "image/png", "I;16"), ("PNG", "image/png", "1"),
     ("JPEG", "image/jpeg", "RGB"), ("JPEG", "image/jpeg", "CMYK"), ("TIFF", "image/tiff", "L"),
     ("WEBP", "image/webp", "RGB")],
)  # fmt: skip
def test_images_become_documents(tmp_path: Path, kind: str, mime: str, mode: str) -> None:
    held, image = io.BytesIO(), page().convert(mode)
    extra: dict[str, Any] = {"save_all": True, "append_images": [image]} if kind == "TIFF" else {}
    image.save(held, kind, **extra)
    source, target = tmp_path / "source", tmp_path / "source.pdf"
    source.write_bytes(held.getvalue())
    pdf_of_image(source, mime, target, max_image_pixels=10**6, max_pixels=200_000, most=5)
    with pikepdf.Pdf.open(target) as document:
        assert len(document.pages) == (2 if kind == "TIFF" else 1)
        for one in document.pages:
            image = next(iter(one.get_images().values()))
            assert 150_000 < int(image.Width) * int(image.Height) <= 200_000
            assert 300 < one.mediabox[2] < 900  # points: about as wide as a sheet of paper


@pytest.mark.asyncio
@pytest.mark.slow
async def test_scripts_and_passwords_of_the_owner_do_not_come_along(world: World) -> None:
    with pikepdf.Pdf.open(io.BytesIO(scan(page()))) as document:
        document.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert('x')")
        content = saved(document, encryption=pikepdf.Encryption(owner="secret", user=""))
    async with world.client() as client:
        found = world.result((await world.recognise(client, content))[-1])
    assert b"app.alert" not in found
    with pikepdf.Pdf.open(io.BytesIO(found)) as document:
        assert not document.is_encrypted and "/OpenAction" not in document.Root


def encrypted() -> bytes:
    with pikepdf.Pdf.open(io.BytesIO(scan(page()))) as document:
        return saved(document, encryption=pikepdf.Encryption(owner="secret", user="secret"))


def pages_of_nothing(count: int) -> bytes:
    with pikepdf.Pdf.new() as document:
        for _ in range(count):
            document.add_blank_page(page_size=(50, 50))
        return saved(document)


def bomb() -> bytes:
    """A PNG of a few kilobytes with 400 million pixels, by its header; its data never matter."""
    small = bytearray(png(page()))
    small[16:24] = (20_000).to_bytes(4, "big") * 2
    small[29:33] = zlib.crc32(bytes(small[12:29])).to_bytes(4, "big")
    return bytes(small)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content", "asked", "kind"),
    [
        (encrypted, {}, "encrypted-document"),
        (lambda: b"%PDF-1.7 and then nothing of the kind", {}, "broken-document"),
        (lambda: b"", {}, "broken-document"),
        (lambda: scan(page())[:300], {}, "broken-document"),
        (lambda: png(page()), {}, "broken-document"),
        (lambda: scan(page()), {"mime": "image/png"}, "broken-document"),
        (lambda: pages_of_nothing(0), {}, "empty-document"),
        (lambda: pages_of_nothing(5000), {}, "too-many-pages"),
        (lambda: scan(page()), {"pages": [2]}, "no-such-page"),
        (bomb, {"mime": "image/png"}, "image-too-large"),
        (lambda: b"GIF89a", {"mime": "image/tiff"}, "broken-document"),
        (lambda: scan(page()), {"object_key": "uploads/12/none"}, "no-such-object"),
    ],
)
async def test_what_cannot_be_read_says_why(
    world: World, content: Callable[[], bytes], asked: dict[str, Any], kind: str
) -> None:
    async with world.client() as client:
        events = await world.recognise(client, content(), **asked)
    assert [one["event"] for one in events] == ["error"]
    assert events[0]["type"] == f"/problems/{kind}" and events[0]["title"] and events[0]["detail"]
    assert not list((world.folder / "state/work").iterdir())


@pytest.mark.asyncio
async def test_other_bytes_than_those_that_are_meant_are_not_read(world: World) -> None:
    world.put(b"something")
    body = {"bucket": "uploads", "object_key": "uploads/12/a", "mime": "application/pdf"}
    async with world.client() as client:
        answer = await client.put(f"/v1/recognitions/{'0' * 64}", json=body, headers=world.headers())
        assert answer.json()["type"] == "/problems/other-content"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"mime": "application/zip"}, 415, "no-such-kind"),
        ({"languages": ["fra"]}, 422, "language-missing"),
        ({"object_key": "uploads/13/a"}, 403, "not-yours"),
        ({"object_key": "12"}, 403, "not-yours"),
        ({"prefix": "documents/13"}, 403, "not-yours"),
        ({"bucket": "backups"}, 422, "bucket"),
        ({"object_key": "../12/a"}, 422, ""),
        ({"object_key": "uploads/12/none"}, 404, "no-such-object"),
        ({"object_key": "uploads/12/a?x"}, 422, ""),
        ({"pages": []}, 422, ""),
        ({"pages": [0]}, 422, ""),
    ],
)
async def test_requests_that_are_refused(world: World, change: dict[str, Any], status: int, kind: str) -> None:
    body = {"bucket": "uploads", "object_key": "uploads/12/a", "mime": "application/pdf", **change}
    async with world.client() as client:
        answer = await client.put(f"/v1/recognitions/{'0' * 64}", json=body, headers=world.headers())
        found = answer.json()
        assert found["status"] == status and kind in found.get("type", "")
        if answer.status_code == 200:  # it was only known when the object was asked for
            assert found["event"] == "error"


@pytest.mark.asyncio
async def test_who_is_nobody_gets_nothing(world: World) -> None:
    body = {"bucket": "uploads", "object_key": "uploads/12/a", "mime": "application/pdf"}
    path = f"/v1/recognitions/{'0' * 64}"
    async with world.client() as client:
        assert (await client.put(path, json=body)).status_code == 401
        assert (await client.put(path, json=body, headers=world.headers(None))).status_code == 403
        world.app.state.recogniser.places.taken = 99
        answer = await client.put(path, json=body, headers=world.headers())
        assert answer.status_code == 503 and answer.headers["retry-after"] == "30"
        health = await client.get("/health")
        assert health.status_code == 200, health.text
        assert health.json()["dependencies"]["tesseract"]["saw"] == {"languages": "deu, eng"}


def stand_in(folder: Path, body: str) -> dict[str, str]:
    """A program ``tesseract`` that does something else when it is to read a page."""
    program = folder / "bin/tesseract"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *hocr*) {body};; esac\nexec /usr/bin/tesseract "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_page_at_which_the_child_dies_fails_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"if [ ! -e {tmp_path}/died ]; then touch {tmp_path}/died; kill -9 $PPID; fi"
    monkeypatch.setenv("PATH", stand_in(tmp_path, body)["PATH"])
    async with world.client() as client:
        done = (await world.recognise(client, scan(page(), page())))[-1]
        assert [(one["page"], one["state"], one.get("reason")) for one in done["pages"]] == [
            (1, "failed", "memory"), (2, "done", None),
        ]  # fmt: skip
        first, second = texts(world.result(done))
        assert not first.strip() and "Invoice" in second
        # A page that failed is tried again the next time.
        again = (await world.recognise(client, scan(page(), page())))[-1]
        assert [one["state"] for one in again["pages"]] == ["done", "done"]


@pytest.mark.asyncio
async def test_a_page_has_its_time(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that opens a document may not hang either."""
    world = World(tmp_path, s3_server, page_seconds=0.001)
    async with world.client() as client:
        events = await world.recognise(client, scan(page()))
    assert events[-1]["type"] == "/problems/unreadable-document" and events[-1]["reason"] == "time"


@pytest.mark.asyncio
async def test_memory_is_bounded(tmp_path: Path, s3_server: S3Server) -> None:
    world = World(tmp_path, s3_server, child_memory=128 << 20)
    async with world.client() as client:
        events = await world.recognise(client, png(Image.new("RGB", (8000, 8000))), mime="image/png")
    assert events[-1]["type"] == "/problems/unreadable-document" and events[-1]["reason"] == "memory"


@pytest.mark.asyncio
async def test_when_the_caller_leaves_nothing_goes_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, "sleep 600")["PATH"])
    sha256 = world.put(scan(page()))
    body = {"bucket": "uploads", "object_key": "uploads/12/a", "mime": "application/pdf"}
    async with world.client() as client:
        path = f"/v1/recognitions/{sha256}"
        async with client.stream("PUT", path, json=body, headers=world.headers()) as answer:
            assert answer.status_code == 200
            await until(lambda: any("hocr" in line for line in children()))
        await until(lambda: not children() and world.app.state.recogniser.places.taken == 0)
        await until(lambda: not list((world.folder / "state/work").iterdir()))


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_hundred_million_pixels_are_made_fewer(tmp_path: Path, s3_server: S3Server) -> None:
    world = World(tmp_path, s3_server, max_pixels=4_000_000)
    large = page().resize((10_000, 10_000))
    async with world.client() as client:
        done = (await world.recognise(client, png(large), mime="image/png"))[-1]
        found = world.result(done)
    assert done["pages"][0]["state"] == "done"
    with pikepdf.Pdf.open(io.BytesIO(found)) as document:
        image = next(iter(document.pages[0].get_images().values()))
        assert int(image.Width) * int(image.Height) <= 4_000_000
