"""The S3 interface against two servers, SeaweedFS and rclone's; ranges, names and kinds of files without any."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from real_servers import S3Server, free_ports
from zentoria_backend.files import contents, ranges
from zentoria_backend.files.signing import canonical_query, signed_headers
from zentoria_backend.files.store import NoSuchUpload, ObjectStore
from zentoria_backend.jobs import scan
from zentoria_backend.settings import Settings
from zentoria_backend.uploads.writer import PART_BYTES, Writer, part_bytes
from zentoria_common.problems import Problem, Unavailable

MIB = 1 << 20


def settings(endpoint: str, key: str = "backend", **more: object) -> Settings:
    values = {"database_host": "x", "database_user": "x", "redis_host": "x", "redis_user": "x"}
    return Settings(**{**values, "s3_endpoint": endpoint, "s3_access_key": key, **more})  # type: ignore[arg-type]  # typed by name


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "uploads").mkdir()
    (port,) = free_ports(1)
    with (folder.parent / "rclone.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("rclone")), "serve", "s3", "--auth-key", "backend,secret", "--addr",
             f"127.0.0.1:{port}", "--config", "/dev/null", str(folder)],
            stdout=log, stderr=log, env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["seaweedfs", "rclone"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "rclone":
        return ObjectStore(settings(request.getfixturevalue("rclone")), SecretStr("secret"))
    server: S3Server = request.getfixturevalue("s3_server")
    return ObjectStore(settings(server.endpoint), SecretStr(server.secret_key("backend")))


async def whole(store: ObjectStore, key: str, start: int, length: int) -> bytes:
    return b"".join([one async for one in await store.read("uploads", key, start, length)])


@pytest.mark.asyncio
async def test_small_objects(store: ObjectStore) -> None:
    key = f"t/{os.urandom(8).hex()}/ä b"
    try:
        await store.put("uploads", key, b"hello")
        assert await whole(store, key, 1, 3) == b"ell"
        assert await store.keys("uploads", key.rpartition("/")[0] + "/") == [key]
        await store.delete("uploads", key, key)
        with pytest.raises(FileNotFoundError):
            await store.read("uploads", key, 0, 1)
    finally:
        await store.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, PART_BYTES, 2 * PART_BYTES + 5])
async def test_an_object_in_parts(store: ObjectStore, size: int) -> None:
    data, key = os.urandom(size), f"t/{os.urandom(8).hex()}"
    began: list[str] = []

    async def begin(upload: str) -> None:
        began.append(upload)

    try:
        writer = Writer(store, "uploads", key, on_begin=begin)
        for at in range(0, size, 300_000):
            await writer.write(data[at : at + 300_000])
        await writer.settle()
        if began:
            assert await store.unfinished("uploads", key) == began
        await writer.finish()
        assert writer.sha256.hexdigest() == hashlib.sha256(data).hexdigest()
        assert await whole(store, key, 0, size) == data
        assert await store.unfinished("uploads", key) == []
        await store.delete("uploads", key)
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_what_was_given_up_takes_no_more(store: ObjectStore) -> None:
    key = f"t/{os.urandom(8).hex()}"
    try:
        upload = await store.begin("uploads", key)
        data = b"x" * 10
        await store.put_part("uploads", key, upload, 1, data, hashlib.sha256(data).hexdigest())
        await store.abort("uploads", key, upload)
        await store.abort("uploads", key, upload)
        with pytest.raises(NoSuchUpload):
            await store.put_part("uploads", key, upload, 2, data, hashlib.sha256(data).hexdigest())
        with pytest.raises(FileNotFoundError):
            await store.read("uploads", key, 0, 1)
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_a_part_that_was_spoilt_on_its_way_is_refused(s3_server: S3Server) -> None:
    store = ObjectStore(settings(s3_server.endpoint), SecretStr(s3_server.secret_key("backend")))
    key = f"t/{os.urandom(8).hex()}"
    try:
        upload = await store.begin("uploads", key)
        with pytest.raises(Unavailable):
            await store.put_part("uploads", key, upload, 1, b"spoilt", hashlib.sha256(b"as sent").hexdigest())
        await store.abort("uploads", key, upload)
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_a_server_that_is_away_is_unavailable() -> None:
    (port,) = free_ports(1)
    store = ObjectStore(settings(f"http://127.0.0.1:{port}"), SecretStr("secret"))
    for call in (store.put("b", "k", b""), store.read("b", "k", 0, 1), store.begin("b", "k"), store.delete("b", "k"),
                 store.keys("b", "k/"), store.unfinished("b", "k"), store.abort("b", "k", "u")):  # fmt: skip
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.headers["retry-after"]
    await store.close()


def test_the_signature_is_the_one_of_the_documentation() -> None:
    """Example "GET Object" of the Amazon S3 API reference, page of the Authorization header."""
    found = signed_headers(
        "GET", "examplebucket.s3.amazonaws.com", "/test.txt", {}, hashlib.sha256(b"").hexdigest(),
        region="us-east-1", access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key=SecretStr("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        now=datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC), headers={"range": "bytes=0-9"},
    )  # fmt: skip
    assert found["authorization"].endswith("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    assert canonical_query({"uploads": "", "prefix": "a/b c"}) == "prefix=a%2Fb%20c&uploads="


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d{0,3}-\d{0,3}", fullmatch=True), st.integers(0, 300))
def test_a_range_is_within_the_file(header: str, size: int) -> None:
    try:
        span = ranges.span_of(header, size)
    except ranges.Unsatisfiable:
        return
    if span is not None:
        assert 0 <= span.start < span.start + span.length <= size
        assert span.header(size) == f"bytes {span.start}-{span.start + span.length - 1}/{size}"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\temp\\a.txt", "a.txt"), ("", "file"), ("..", "file"), (None, "file"),
        ("a\0b\r\n.txt", "ab.txt"), ("\u202egpj.exe", "gpj.exe"), ("\ud800x", "?x"), ("e\u0301.txt", "é.txt"),
        ("a" * 300 + ".pdf", "a" * 251 + ".pdf"), ("/", "file"), (".bashrc", ".bashrc"),
    ],
)  # fmt: skip
def test_names_are_made_fit(name: str | None, kept: str) -> None:
    assert contents.clean_name(name) == kept


@given(st.text(max_size=400))
def test_any_name_fits_the_table_and_the_header(name: str) -> None:
    kept = contents.clean_name(name)
    assert 1 <= len(kept) <= contents.MAX_NAME and not set(kept) & set("/\\\0\r\n")
    assert contents.clean_name(kept) == kept
    header = contents.disposition(kept)
    assert header.isascii() and header.isprintable() and header.count('"') == 2


PDF, PNG, ZIP = b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, b"PK\x03\x04" + b"\0" * 60


@pytest.mark.parametrize(
    ("declared", "name", "head", "kind"),
    [
        ("image/png", "a.png", PNG, "image/png"), (None, "a.pdf", PNG, "image/png"), ("text/plain", "a.txt", PDF,
        "application/pdf"), (None, "a.txt", b"hello", "text/plain"), (None, "a.md", b"# hi", "text/markdown"),
        ("text/html", "a.html", b"<html>", "text/html"), ("text/plain", "a.txt", b"\0\1\2", "application/octet-stream"),
        ("application/zip", "a.zip", ZIP, "application/zip"), (None, "a.png", b"hello", "text/plain"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx", ZIP,
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("x" * 500, "a", b"", "text/plain"), ("application/x-thing", "a", b"\x80\x81", "application/x-thing"),
        ("IMAGE/PNG; a=b", "a", PNG, "image/png"), (None, "a", b"", "text/plain"), ("image/png", "a", b"", "image/png"),
        ("text/plain", "a", "ä".encode() * 4096 + b"\xc3", "text/plain"),
    ],
)  # fmt: skip
def test_the_first_bytes_have_their_say(declared: str | None, name: str, head: bytes, kind: str) -> None:
    assert contents.judge(declared, name, head) == kind


@pytest.mark.parametrize(("declared", "head"), [("image/png", PDF), ("application/pdf", b"<html>"),
                                               ("image/gif", b"MZ\0"), ("application/zip", PNG)])  # fmt: skip
def test_who_says_what_cannot_be_is_refused(declared: str, head: bytes) -> None:
    with pytest.raises(Problem) as caught:
        contents.judge(declared, "a", head)
    assert (caught.value.status, caught.value.kind) == (415, "content-mismatch")


@given(st.binary(max_size=300))
def test_any_bytes_are_of_some_kind(head: bytes) -> None:
    assert "/" in contents.judge(None, "a", head)


def test_parts_are_large_enough_for_what_is_allowed() -> None:
    assert part_bytes(100 << 20) == PART_BYTES
    assert part_bytes(1 << 40) * 10_000 >= 1 << 40


async def chunks() -> object:
    yield b"X5O!"
    yield b"rest"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "raised"), [(b"stream: OK\0", None), (b"stream: Eicar FOUND\0", 422), (b"INSTREAM size limit\0", 503)]
)
async def test_clamd_is_asked(answer: bytes, raised: int | None) -> None:
    got = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.readuntil(b"\0"))
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            got.extend(await reader.readexactly(size))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with contextlib.nullcontext() if raised is None else pytest.raises(Problem) as caught:
            await scan.scan(settings("http://x", scan_clamd=f"127.0.0.1:{port}"), chunks())  # type: ignore[arg-type] # a generator
        if raised is not None:
            assert caught.value.status == raised
    finally:
        server.close()
    assert bytes(got) == b"zINSTREAM\0X5O!rest"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "status"), [("cat >/dev/null", None), ("grep -q X5O && echo Eicar && exit 1", 422), ("exit 2", 503)]
)
async def test_a_command_is_asked(script: str, status: int | None) -> None:
    made = settings("http://x", scan_command=("sh", "-c", script))
    if status is None:
        await scan.scan(made, chunks())  # type: ignore[arg-type] # a generator
        return
    with pytest.raises(Problem) as caught:
        await scan.scan(made, chunks())  # type: ignore[arg-type] # a generator
    assert caught.value.status == status
