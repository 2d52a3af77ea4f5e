"""Weights for tests: files of the inventory's models, fetched once by what `up` uses, kept in `.uv/weights`."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
from pathlib import Path

from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.weights_model import ServedModel
from zentoria_infra.materials.artifacts.cache import BlobCache
from zentoria_infra.materials.artifacts.weights import fetch_weights

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".uv/weights"


def chat_small() -> Path:
    """SmolLM2-135M as a GGUF file: it talks, and knows nothing."""
    return folder("smollm2-135m") / "model.gguf"


def embedding() -> Path:
    """Folder of bge-small-en-v1.5: model.onnx and tokenizer.json, 384 dimensions, 512 tokens."""
    return folder("bge-small-en-v1.5")


def whisper_tiny() -> Path:
    """Folder of faster-whisper's tiny.en."""
    return folder("whisper-tiny-en")


def kokoro() -> Path:
    """Folder of Kokoro: model.onnx, and voices as af_heart.bin."""
    return folder("kokoro")


@functools.cache
def folder(name: str) -> Path:
    """The folder with the files of a model of inventory/site.yaml, as it is in a guest."""
    model = catalogue()[name]
    place = FOLDER / name
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of the same run want the same
        if not all(_there(place / file, one.size) for file, one in model.files.items()):
            cache = BlobCache()
            fetch_weights(name, model, cache)
            place.mkdir(exist_ok=True)
            for file, one in model.files.items():
                _take(cache.path(one.sha256), place / file)
    return place


@functools.cache
def catalogue() -> dict[str, ServedModel]:
    """The models of inventory/site.yaml."""
    return dict(load(ROOT).site.models)


def _there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _take(source: Path, target: Path) -> None:
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:  # the cache is on another disk
        shutil.copyfile(source, new)
    new.replace(target)
