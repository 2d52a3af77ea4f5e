"""Models in a guest: brought whole, gone on with, looked at without reading them again; or pulled by a server there."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.guest.guest_world import Pipe
from zentoria_infra.cli import models_shown
from zentoria_infra.errors import GuestError
from zentoria_infra.execute import models
from zentoria_infra.execute.models import Placed, inside, look_at
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.weights_model import ServedModel, UrlFile
from zentoria_infra.materials.artifacts.cache import BlobCache

ROOT = Path(__file__).resolve().parents[2]
BIG, SMALL = b"weights" * 400_000, b"{}"


class Session(Pipe):
    """The program of the guest, on this machine."""

    def close_stdin(self) -> None:
        self.process.stdin.close()


class Node:
    """A node whose containers are this machine."""

    def __init__(self) -> None:
        self.pct = self
        self.sessions = 0
        self.cut_after = 1 << 60

    @contextlib.contextmanager
    def session(self, vmid: int, argv: list[str], timeout: float | None = None, *, tried: str = "") -> Iterator[Any]:
        self.sessions += 1
        session = Session(argv, {"PATH": os.environ["PATH"]})
        write, left = session.write, self.cut_after

        def cut(data: bytes, /) -> None:
            nonlocal left
            left -= len(data)
            if left < 0:
                raise GuestError("write", got="the connection broke")
            write(data)

        session.write = cut
        try:
            yield session
        finally:
            session.abandon()


@pytest.fixture
def node() -> Any:
    return Node()


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    made = BlobCache(tmp_path / "cache")
    for content in (BIG, SMALL):
        source = tmp_path / "source"
        source.write_bytes(content)
        made.add_file(source)
    return made


def file(content: bytes) -> UrlFile:
    digest = hashlib.sha256(content).hexdigest()
    return UrlFile(kind="url", url="https://nowhere.test/x", sha256=digest, size=len(content))


def place(folder: Path, model: ServedModel, port: int = 11434) -> Placed:
    container = load(ROOT, "lab").by_name("ai")
    service = container.service("ollama").model_copy(update={"models_folder": str(folder)})
    http_port = service.exposes[0].model_copy(update={"port": service.exposes[0].port.model_copy(
        update={"first": port, "last": port})})  # fmt: skip
    service = service.model_copy(update={"exposes": (http_port,)})
    here = container.model_copy(update={"address": IPv4Address("127.0.0.1")})
    return Placed("big", model, here, service, ("chat",))


@pytest.fixture
def one(tmp_path: Path) -> Placed:
    model = ServedModel(licence="MIT", files={"model.gguf": file(BIG), "tokenizer.json": file(SMALL)})
    return place(tmp_path / "guest/models", model)


def test_files_are_brought_whole_and_seen_again_without_being_read(
    node: Any, one: Placed, cache: BlobCache, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    with inside(node, one.container, cache) as guest:
        found = guest.look(one)
        assert (found.there, found.lacks) == (False, len(BIG) + len(SMALL))
        guest.bring(found, lambda _, step, done, total: told.append((step, done, total)))
        assert guest.look(one).there
    assert told[-1] == ("bring", len(BIG) + len(SMALL), len(BIG) + len(SMALL))
    folder = tmp_path / "guest/models/big"
    assert (folder / "model.gguf").read_bytes() == BIG
    assert {path.stat().st_mode & 0o777 for path in (folder / "model.gguf", folder / "tokenizer.json")} == {0o644}
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o755
    # The mark knows this size and date: what else changed is not seen, and that is what makes it quick.
    seen = (folder / "model.gguf").stat()
    (folder / "model.gguf").write_bytes(b"x" * len(BIG))
    os.utime(folder / "model.gguf", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert look_at(node, (one,))[0].there
    os.utime(folder / "model.gguf")
    assert list(look_at(node, (one,))[0].missing) == ["model.gguf"]


def test_what_somebody_else_put_there_is_read_once_and_taken(node: Any, one: Placed, tmp_path: Path) -> None:
    folder = tmp_path / "guest/models/big"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(BIG)
    (folder / "tokenizer.json").write_bytes(SMALL)
    assert look_at(node, (one,))[0].there
    assert json.loads((folder / ".model.gguf.sha256").read_text())[0] == hashlib.sha256(BIG).hexdigest()


def test_a_connection_that_breaks_is_gone_on_with(node: Any, one: Placed, cache: BlobCache, tmp_path: Path) -> None:
    node.cut_after = (3 << 19) + len(BIG) // 4
    with pytest.raises(GuestError, match="broke"), inside(node, one.container, cache) as guest:
        guest.bring(guest.look(one), lambda *_: None)
    partial = tmp_path / "guest/models/big/.model.gguf.new"
    came = partial.stat().st_size
    assert 0 < came < len(BIG) and not partial.with_name("model.gguf").exists()
    node.cut_after = 1 << 60
    told: list[int] = []
    with inside(node, one.container, cache) as guest:
        found = guest.look(one)
        assert found.missing["model.gguf"] == came
        guest.bring(found, lambda _, __, done, ___: told.append(done))
        assert guest.look(one).there
    assert told[0] > came


def test_a_part_of_something_else_is_thrown_away(node: Any, one: Placed, cache: BlobCache, tmp_path: Path) -> None:
    folder = tmp_path / "guest/models/big"
    folder.mkdir(parents=True)
    (folder / ".model.gguf.new").write_bytes(b"other" * 1000)
    with pytest.raises(GuestError, match="and should have"), inside(node, one.container, cache) as guest:
        guest.bring(guest.look(one), lambda *_: None)
    with inside(node, one.container, cache) as guest:
        guest.bring(guest.look(one), lambda *_: None)
        assert guest.look(one).there


def test_a_volume_that_is_too_small_is_told_before_anything_is_fetched(
    node: Any, one: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SPARE", 1 << 60)
    with (
        pytest.raises(GuestError, match="MiB are free there"),
        inside(node, one.container, BlobCache(tmp_path / "empty")) as guest,
    ):
        guest.bring(guest.look(one), lambda *_: None)


def test_what_is_removed_leaves_nothing(node: Any, one: Placed, cache: BlobCache, tmp_path: Path) -> None:
    with inside(node, one.container, cache) as guest:
        guest.bring(guest.look(one), lambda *_: None)
        assert guest.remove(one)
        assert not guest.remove(one)
    assert list((tmp_path / "guest/models").iterdir()) == []


def test_a_model_that_fails_ends_no_other(
    node: Any, one: Placed, cache: BlobCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = place(Path("/proc/nowhere"), one.model)
    lacking = models_shown.bring(node, [broken, one], as_json=True, cache=cache)
    assert [found.placed for found in lacking] == [broken]
    assert look_at(node, (one,))[0].there
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["error"] and events[-1]["model"] == "big"


class Ollama(http.server.BaseHTTPRequestHandler):
    """As much of Ollama's API as is asked."""

    asked: list[tuple[str, Any]]
    models: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        self.asked.append((f"{self.command} {self.path}", body))
        lines: list[Any] = [{"status": "success"}]
        if self.path == "/api/tags":
            lines = [{"models": [{"name": f"{name}:latest"} for name in self.models]}]
        elif self.path == "/api/pull" and body["model"] == "nobody:1b":
            lines = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
        elif self.path == "/api/pull" and body["model"] == "huge:400b":
            lines = [{"status": "pulling a", "digest": "a", "total": 1 << 60}, {"status": "success"}]
        elif self.path == "/api/pull":
            lines = [{"status": "pulling a", "digest": "a", "total": 100, "completed": done} for done in (0, 50, 100)]
            lines += [{"status": "pulling b", "digest": "b", "total": 20, "completed": 20}, *[{"status": "success"}]]
        elif self.path == "/api/create":
            self.models.append(body["model"])
        elif self.path == "/api/delete":
            self.models.remove(body["model"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    do_GET = do_POST = do_DELETE = _answer


@pytest.fixture
def ollama() -> Iterator[http.server.ThreadingHTTPServer]:
    Ollama.asked, Ollama.models = [], ["other"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(30)


def test_ollama_pulls_and_a_derived_model_pins_the_context(
    node: Any, tmp_path: Path, ollama: http.server.ThreadingHTTPServer
) -> None:
    model = ServedModel(licence="x", context=8192, pull="llama3.2:3b")
    one = place(tmp_path, model, ollama.server_address[1])
    told: list[tuple[str, int, int]] = []
    with inside(node, one.container) as guest:
        assert not guest.look(one).there
        guest.bring(guest.look(one), lambda _, step, done, total: told.append((step, done, total)))
        assert guest.look(one).there
        assert told == [("pull", 0, 100), ("pull", 50, 100), ("pull", 100, 100), ("pull", 120, 120)]
        asked = dict(Ollama.asked)
        assert asked["POST /api/pull"] == {"model": "llama3.2:3b"}
        assert asked["POST /api/create"] == {"model": "big", "from": "llama3.2:3b", "parameters": {"num_ctx": 8192}}
        assert guest.remove(one)
        assert not guest.remove(one)


def test_what_ollama_says_when_it_cannot_is_told(
    node: Any, tmp_path: Path, ollama: http.server.ThreadingHTTPServer
) -> None:
    one = place(tmp_path, ServedModel(licence="x", pull="nobody:1b"), ollama.server_address[1])
    with pytest.raises(GuestError, match="file does not exist"), inside(node, one.container) as guest:
        guest.bring(guest.look(one), lambda *_: None)
    (found,) = look_at(node, (place(tmp_path, one.model, 9),))
    assert "refused" in found.unknown


def test_a_model_for_which_there_is_no_room_is_not_pulled(
    node: Any, tmp_path: Path, ollama: http.server.ThreadingHTTPServer
) -> None:
    one = place(tmp_path, ServedModel(licence="x", pull="huge:400b"), ollama.server_address[1])
    with pytest.raises(GuestError, match="MiB are free there"), inside(node, one.container) as guest:
        guest.bring(guest.look(one), lambda *_: None)
    assert "POST /api/create" not in dict(Ollama.asked)
