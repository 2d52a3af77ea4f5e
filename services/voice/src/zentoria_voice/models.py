"""Models from a folder, where they may appear while the service runs. Nothing is ever fetched from here."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import structlog
from zentoria_common.problems import Problem

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from kokoro_onnx import Kokoro

State = Literal["ready", "fetching", "failed"]
RETRY_SECONDS = 10
_WHISPER = ("model.bin", "config.json", "tokenizer.json")
_STYLE = 256
"""Numbers of a style of Kokoro's; a voice has one for each length of text."""
_log = structlog.stdlib.get_logger("zentoria_voice.models")
_Model = TypeVar("_Model")


class Missing(Problem):
    """A model is not there yet: 503, and when to come again."""

    def __init__(self, name: str, state: State) -> None:
        why = "is being fetched" if state == "fetching" else "cannot be loaded: it will be tried again when it changes"
        super().__init__(
            503, f"model {name} {why}", kind="model-missing",
            headers={"retry-after": str(RETRY_SECONDS)}, model=name, state=state,
        )  # fmt: skip


class Kept(Generic[_Model]):
    """One model: loaded when it is first used, forgotten when it rests, loaded anew when its files change.

    Args:
        folder: that its files are in.
        complete: whether all of them are there.
        load: loads it; takes seconds.
    """

    def __init__(self, folder: Path, complete: Callable[[Path], bool], load: Callable[[Path], _Model]) -> None:
        self.folder = folder
        self._complete, self._load = complete, load
        self._lock = threading.Lock()
        self._loaded: _Model | None = None
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._failed: tuple[tuple[str, int, int], ...] = ()
        self._used = time.monotonic()

    @property
    def name(self) -> str:
        """Of the model."""
        return self.folder.name

    @property
    def state(self) -> State:
        """Whether it could be used now."""
        if not self._complete(self.folder):
            return "fetching"
        return "failed" if self._failed and self._failed == self._files() else "ready"

    def get(self) -> _Model:
        """The model. To be called in a thread.

        Raises:
            Missing: it is not there, or what is there is no such model.
        """
        with self._lock:
            self._used = time.monotonic()
            state = self.state
            if state != "ready":
                raise Missing(self.name, state)
            files = self._files()
            if self._loaded is None or files != self._seen:
                self._loaded = None  # two at a time would take twice the memory
                try:
                    self._loaded = self._load(self.folder)
                except Exception as error:
                    self._failed = files
                    _log.error("a model cannot be loaded", names=self.name, exc_info=error)
                    raise Missing(self.name, "failed") from None
                self._seen, self._failed = files, ()
                _log.info("a model is loaded", names=self.name)
            self._used = time.monotonic()
            return self._loaded

    def rest(self, seconds: float) -> None:
        """Forget it where it was not used for so long; a user of now keeps it until done."""
        if self._loaded is not None and time.monotonic() - self._used > seconds and self._lock.acquire(blocking=False):
            try:
                self._loaded = None
            finally:
                self._lock.release()

    def _files(self) -> tuple[tuple[str, int, int], ...]:
        try:
            found = [(entry.name, entry.stat()) for entry in os.scandir(self.folder) if entry.is_file()]
        except OSError:
            return ()
        return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def whisper(folder: Path, threads: int) -> Kept[WhisperModel]:
    """A model of faster-whisper, in CTranslate2's form."""

    def complete(path: Path) -> bool:
        vocabulary = (path / "vocabulary.txt").is_file() or (path / "vocabulary.json").is_file()
        return vocabulary and all((path / name).is_file() for name in _WHISPER)

    def load(path: Path) -> WhisperModel:
        from faster_whisper import WhisperModel  # it takes a second

        return WhisperModel(
            str(path), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=1, local_files_only=True
        )

    return Kept(folder, complete, load)


def kokoro(folder: Path, threads: int) -> Kept[Kokoro]:
    """Kokoro in ONNX's form, with a file ``VOICE.bin`` for each voice: float32, a style a row."""

    def complete(path: Path) -> bool:
        return (path / "model.onnx").is_file() and bool(voices(path))

    def load(path: Path) -> Kokoro:
        import numpy as np
        import onnxruntime
        from kokoro_onnx import Kokoro

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path / "model.onnx", options, providers=["CPUExecutionProvider"])
        styles = {name: np.fromfile(path / f"{name}.bin", np.float32).reshape(-1, 1, _STYLE) for name in voices(path)}
        with tempfile.TemporaryDirectory() as work:  # it wants them in one file, of numpy's
            np.savez(Path(work) / "voices.npz", **styles)  # type: ignore[arg-type] # names are the files' own
            found: Kokoro = Kokoro.from_session(session, str(Path(work) / "voices.npz"))
            found.voices = styles  # type: ignore[assignment] # it only looks them up by name
        return found

    return Kept(folder, complete, load)


def voices(folder: Path) -> tuple[str, ...]:
    """Names of the voices in Kokoro's folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.bin")))
