from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.fetch import fetch, shown_url

CONTENT = b"component " * 100_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Answers from a script: one entry a request, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = ["whole"]
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        step = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if step.isdecimal():
            self.send_response(int(step))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if step == "whole" else CONTENT[:1000])

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path)


def left(cache: BlobCache) -> list[Path]:
    return [path for path in cache.root.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once_and_then_without_anybody(server: Server, cache: BlobCache) -> None:
    seen: list[tuple[int, int | None]] = []
    assert fetch(f"{server.url}/c", SHA, cache, progress=lambda done, total: seen.append((done, total))) == SHA
    assert cache.read(SHA) == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(f"{server.url}/c", SHA, cache) == SHA
    assert server.paths == ["/c"]


def test_another_hash_names_both_and_keeps_nothing(server: Server, cache: BlobCache) -> None:
    wanted = "0" * 64
    with pytest.raises(ArtifactError) as caught:
        fetch(f"{server.url}/c", wanted, cache)
    assert wanted in str(caught.value)
    assert SHA in str(caught.value)
    assert len(server.paths) == 1
    assert left(cache) == []


@pytest.mark.parametrize("first", ["503", "429", "short"])
def test_what_may_pass_is_tried_again(server: Server, cache: BlobCache, first: str) -> None:
    server.script = [first, "whole"]
    assert fetch(f"{server.url}/c", SHA, cache, pause=0) == SHA
    assert len(server.paths) == 2


def test_what_does_not_pass_is_given_up(server: Server, cache: BlobCache) -> None:
    server.script = ["502"]
    with pytest.raises(ArtifactError, match=r"HTTP 502 .*3 tries"):
        fetch(f"{server.url}/c", SHA, cache, pause=0)
    assert len(server.paths) == 3
    assert left(cache) == []


def test_a_file_that_is_not_there_is_not_tried_again(server: Server, cache: BlobCache) -> None:
    server.script = ["404"]
    with pytest.raises(ArtifactError, match="HTTP 404"):
        fetch(f"{server.url}/c", SHA, cache, pause=0)
    assert len(server.paths) == 1


def test_nobody_there_and_no_secret_in_the_error(cache: BlobCache) -> None:
    with pytest.raises(ArtifactError) as caught:
        fetch("http://user:hunter2@127.0.0.1:1/c?token=hunter3", SHA, cache, pause=0, proxy=None)
    text = str(caught.value)
    assert "fetch http://127.0.0.1:1/c" in text
    assert "hunter" not in text


def test_the_sites_proxy_is_asked(server: Server, cache: BlobCache) -> None:
    assert fetch("http://component.invalid/c", SHA, cache, proxy=server.url) == SHA
    assert server.paths == ["http://component.invalid/c"]


def test_urls_are_shown_without_secrets() -> None:
    assert shown_url("https://u:p@host.test:8443/a/b?key=1#x") == "https://host.test:8443/a/b"
    assert shown_url("http://[::1]:80/a") == "http://[::1]:80/a"
