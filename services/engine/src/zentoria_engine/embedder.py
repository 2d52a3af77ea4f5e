"""Vectors of texts by a small encoder (ONNX): the first token's, of length one, as the BGE models want it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zentoria_engine.runner import LoadError

BATCH_TOKENS = 4096
"""Tokens, padding among them, that go through the model at once: some 100 MB of memory."""
BATCH_TEXTS = 32

Vectors = npt.NDArray[np.float32]


class Embedder:
    """A loaded embedding model. Its methods compute, and belong into a thread.

    Args:
        folder: with ``model.onnx`` and ``tokenizer.json``.
        context: tokens of a text, the two marks around it among them.
        threads: that compute.

    Raises:
        LoadError: its files are not what they should be.
    """

    def __init__(self, folder: Path, context: int, threads: int) -> None:
        # 60 MB of native code that is not wanted where nobody asks for vectors
        import onnxruntime
        from tokenizers import Tokenizer

        onnxruntime.disable_telemetry_events()  # it tells its makers, unless told not to
        self.context = context
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_cpu_mem_arena = False  # it never gives back what the largest batch took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # Both raise their own native kinds, of which not all are exported.
            raise LoadError(" ".join(str(error).split())[:300]) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._inputs = {one.name for one in self._session.get_inputs()}

    def close(self) -> None:
        """Give its memory back."""
        self._session = self._tokenizer = None
        gc.collect()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, with the marks around them."""
        return [list(one.ids) for one in self._tokenizer.encode_batch(list(texts))]

    def batches(self, tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Numbers of texts that go through the model together: of about the same length, so that little is padding."""
        batch: list[int] = []
        for number in sorted(range(len(tokens)), key=lambda one: len(tokens[one])):
            if batch and (len(batch) >= BATCH_TEXTS or (len(batch) + 1) * len(tokens[number]) > BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def embed(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of one batch, a row each."""
        width = max(len(one) for one in tokens)
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(tokens):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        found = self._session.run(None, {name: value for name, value in given.items() if name in self._inputs})[0]
        vectors = found[:, 0] if found.ndim == 3 else found
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit
