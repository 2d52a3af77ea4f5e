"""Vectors of short texts, made in this process: milliseconds instead of a round trip through the engine's queue.

The model is the one that the engine has: its folder is in the same container. Until it is there, callers do without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

POLL_SECONDS = 2.0
FILES = ("model.onnx", "tokenizer.json")
MOST_TOKENS = 256
BATCH = 32
_log = structlog.stdlib.get_logger("zentoria_ai.meaning")


class Embedder:
    """A sentence model in ONNX form, as bge-small: the first token's state and the mean of all, each of length 1.

    Args:
        folder: with ``model.onnx`` and ``tokenizer.json``; it may come later.
        threads: of a run.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._folder, self._threads = folder, threads
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None
        self._looked = 0.0
        self._broken: tuple[int, int] | None = None
        """Size and time of a file that could not be loaded: it is not tried again before it changes."""

    @property
    def ready(self) -> bool:
        """Whether the model is there; loads it if it has come."""
        return self._load() is not None

    def encode(self, texts: Sequence[str]) -> Vectors | None:
        """Vectors of texts, one a row; None: the model is not there (yet)."""
        loaded = self._load()
        if loaded is None:
            return None
        if not texts:
            return np.zeros((0, 0), np.float32)
        # Texts of like length go together: what is padded is computed too.
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        rows: list[Any] = [None] * len(texts)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            for number, row in zip(batch, _run(*loaded, [texts[one] for one in batch]), strict=True):
                rows[number] = row
        return np.stack(rows)

    def _load(self) -> tuple[Any, Any] | None:
        if self._loaded is not None or time.monotonic() < self._looked:
            return self._loaded
        with self._lock:
            if self._loaded is not None:
                return self._loaded
            self._looked = time.monotonic() + POLL_SECONDS
            path = self._folder / FILES[0]
            try:
                stat = path.stat()
                tokens = self._folder / FILES[1]
                if not tokens.is_file() or self._broken == (stat.st_size, stat.st_mtime_ns):
                    return None
            except OSError:
                return None
            try:
                self._loaded = _open(path, tokens, self._threads)
            except Exception as error:  # the runtime's errors have no common class of their own
                self._broken = (stat.st_size, stat.st_mtime_ns)
                _log.error("embedding model cannot be loaded", error=type(error).__qualname__)
                return None
            _log.info("embedding model loaded")
            return self._loaded


def _open(model: Path, tokens: Path, threads: int) -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), tokenizer


def _run(session: Any, tokenizer: Any, texts: Sequence[str]) -> Vectors:
    coded = tokenizer.encode_batch(list(texts))
    given = {
        "input_ids": np.array([one.ids for one in coded], np.int64),
        "attention_mask": np.array([one.attention_mask for one in coded], np.int64),
        "token_type_ids": np.array([one.type_ids for one in coded], np.int64),
    }
    names = {one.name for one in session.get_inputs()}
    states = session.run(None, {name: value for name, value in given.items() if name in names})[0]
    mask = given["attention_mask"][:, :, None].astype(np.float32)
    first = states[:, 0]
    mean = (states * mask).sum(1) / mask.sum(1)
    return np.concatenate([_unit(first), _unit(mean)], axis=1).astype(np.float32)


def _unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
