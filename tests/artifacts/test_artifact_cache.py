from __future__ import annotations

import concurrent.futures
import hashlib
import os
from pathlib import Path

import pytest

from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache, MismatchError, default_root


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def add(cache: BlobCache, content: bytes) -> str:
    with cache.incoming() as (stream, keep):
        stream.write(content)
        return keep(None)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_content_comes_back_by_its_hash(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    name = add(cache, b"content")
    assert name == sha(b"content")
    assert name in cache
    assert cache.read(name) == cache.path(name).read_bytes() == b"content"
    (tmp_path / "other").write_bytes(b"more")
    assert cache.add_file(tmp_path / "other") == sha(b"more")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    assert sha(b"x") not in cache
    assert "../../etc/passwd" not in cache
    with pytest.raises(ArtifactError, match="not there"):
        cache.path(sha(b"x"))
    with pytest.raises(ValueError, match="not a SHA-256"):
        cache.path("../../etc/passwd")


def test_rotten_content_is_found_and_removed(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    name = add(cache, b"content")
    cache.path(name).write_bytes(b"c0ntent")
    with pytest.raises(ArtifactError, match=sha(b"c0ntent")):
        cache.read(name)
    assert name not in cache


def test_a_wrong_hash_keeps_nothing(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    with pytest.raises(MismatchError), cache.incoming() as (stream, keep):
        stream.write(b"content")
        keep(sha(b"other"))
    assert files(tmp_path) == []


def test_an_exception_in_mid_file_leaves_nothing(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    with pytest.raises(KeyboardInterrupt), cache.incoming() as (stream, _):
        stream.write(b"half")
        raise KeyboardInterrupt
    assert files(tmp_path) == []


def test_many_writers_of_the_same_content(tmp_path: Path) -> None:
    content = os.urandom(300_000)

    def added(_: int) -> bytes:
        cache = BlobCache(tmp_path)
        return cache.read(add(cache, content))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(added, range(40))) == {content}
    assert len(files(tmp_path)) == 1


def test_notes(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path)
    assert cache.note("wheel", "k") is None
    cache.write_note("wheel", "k", {"a": 1})
    cache.write_note("wheel", "k", {"a": 2})
    assert cache.note("wheel", "k") == {"a": 2}
    (tmp_path / "notes/wheel/k.json").write_text('{"a": ')
    assert cache.note("wheel", "k") is None
    with pytest.raises(ValueError, match="not a note's name"):
        cache.note("wheel", "../x")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = BlobCache(tmp_path / "file" / "cache")
    with pytest.raises(ArtifactError, match="ZENTORIA_CACHE"):
        add(cache, b"x")
    with pytest.raises(ArtifactError, match="Not a directory"):
        cache.write_note("wheel", "k", {})


@pytest.mark.parametrize(
    ("environment", "uid", "expected"),
    [
        ({"ZENTORIA_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, 0, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, 0, "/b/zentoria"),
        ({"HOME": "/home/u"}, 0, "/var/cache/zentoria"),
        ({"HOME": "/home/u"}, 1000, "/home/u/.cache/zentoria"),
    ],
)
def test_where_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], uid: int, expected: str
) -> None:
    for name in ("ZENTORIA_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert default_root() == Path(expected)
