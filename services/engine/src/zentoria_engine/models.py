"""The models of this engine: which are there, which are being fetched, which cannot be loaded and why."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import structlog

from zentoria_engine.embedder import Embedder
from zentoria_engine.errors import EngineError, failed
from zentoria_engine.runner import Load, LoadError, Runner
from zentoria_engine.settings import EngineSettings, ModelSpec
from zentoria_engine.waiting import Waiting

State = Literal["fetching", "loading", "ready", "failed"]
CHAT_FILE = "model.gguf"
FETCH_SECONDS = 15
"""When to come again for a model that is being fetched."""
_log = structlog.stdlib.get_logger("zentoria_engine.models")


@dataclasses.dataclass(frozen=True)
class Status:
    """How a model is: ``progress`` is 0 to 1 while its files come, ``reason`` is why it failed."""

    state: State
    progress: float | None = None
    reason: str | None = None
    loaded: bool = False


class Held:
    """One model: its files, its process or session, and the line before it."""

    def __init__(self, spec: ModelSpec, settings: EngineSettings) -> None:
        self.spec = spec
        self._settings = settings
        self._folder = settings.models_folder / spec.name
        slots = 1 if spec.embeds else settings.slots
        self.line = Waiting(slots, settings.waiting, settings.waiting_per_user)
        self.runner = Runner(
            Load(spec.name, self._folder / CHAT_FILE, spec.context, slots, settings.cores,
                 settings.gpu_layers, settings.cache_type)
        )  # fmt: skip
        self.embedder: Embedder | None = None
        self._lock = asyncio.Lock()
        self._loading = False
        self._failure = ""
        self._failed_at = 0.0
        self._failed_for: object = None
        self._seen: object = None
        self._used = time.monotonic()
        self._users = 0

    @property
    def loaded(self) -> bool:
        """Whether it is in memory."""
        return self.embedder is not None if self.spec.embeds else self.runner.running

    def status(self) -> Status:
        """How it is now, by its files and by what loading it gave."""
        there = self._there()
        missing = [name for name in self.spec.files if name not in there]
        if missing or not there:
            return Status("fetching", self._progress(there))
        for name, size in self.spec.files.items():
            if there[name][0] != size:
                return Status("failed", reason=f"its file {name} has {there[name][0]} bytes, and should have {size}")
        if self._failure and self._failed_for == there:
            return Status("failed", reason=self._failure)
        if self._loading:
            return Status("loading")
        return Status("ready", loaded=self.loaded)

    async def look(self) -> None:
        """Load it when its files have come or changed, or once more when it failed some time ago; unload it if idle."""
        there = self._there()
        state = self.status().state
        late = time.monotonic() - self._failed_at > self._settings.retry
        if state == "ready" and there != self._seen:
            self._seen = there
            if self.loaded:  # of other files, which are gone
                await self.unload()
        elif not (state == "failed" and self._failure and late):
            idle = time.monotonic() - self._used
            if self._settings.keep_alive and not self._users and self.loaded and idle > self._settings.keep_alive:
                _log.info("unloaded: nobody asked for it", model=self.spec.name, seconds=round(idle))
                await self.unload()
            return
        with contextlib.suppress(EngineError):
            await self.ensure(again=True)

    @contextlib.asynccontextmanager
    async def used(self, user: str) -> AsyncGenerator[None]:
        """Have a turn at the model, loaded.

        Raises:
            EngineError: it is not there, cannot be loaded, or too many want it.
        """
        self.require()
        async with self.line.turn(user):
            self._users += 1
            try:
                await self.ensure()
                yield
            finally:
                self._users -= 1
                self._used = time.monotonic()

    def require(self) -> None:
        """See that its files are there, and that it was not found to be broken.

        Raises:
            EngineError: it cannot be used now.
        """
        status = self.status()
        if status.state == "fetching":
            done = f", {status.progress:.0%} is there" if status.progress else ""
            text = f"the model {self.spec.name} is being fetched{done}"
            raise EngineError(503, "model_not_found", text, param="model", retry_after=FETCH_SECONDS)
        if status.state == "failed":
            raise failed(f"the model {self.spec.name} cannot be used: {status.reason}")

    async def ensure(self, *, again: bool = False) -> None:
        """Load it, unless it is.

        Raises:
            EngineError: it cannot be loaded.
        """
        if not again:
            self.require()
        async with self._lock:
            if self.loaded:
                return
            self._loading, self._failure = True, ""
            there = self._there()
            try:
                if self.spec.embeds:
                    self.embedder = await asyncio.to_thread(
                        Embedder, self._folder, self.spec.context, self._settings.cores
                    )
                else:
                    await self.runner.start()
                self._used = time.monotonic()
            except (LoadError, OSError) as error:
                self._failure = str(error)
                self._failed_at, self._failed_for = time.monotonic(), there
                _log.error("a model cannot be loaded", model=self.spec.name, reason=self._failure)
                raise failed(f"the model {self.spec.name} cannot be used: {self._failure}") from None
            finally:
                self._loading = False

    async def unload(self) -> None:
        """Take it out of memory; the next request loads it again."""
        async with self._lock:
            await self.runner.stop()
            embedder, self.embedder = self.embedder, None
            if embedder is not None:
                await asyncio.to_thread(embedder.close)

    def _there(self) -> dict[str, tuple[int, int]]:
        """Size and date of its files that are there."""
        names = self.spec.files or (("model.onnx", "tokenizer.json") if self.spec.embeds else (CHAT_FILE,))
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                stat = (self._folder / name).stat()
                found[name] = (stat.st_size, stat.st_mtime_ns)
        return found if len(found) == len(names) or self.spec.files else {}

    def _progress(self, there: dict[str, tuple[int, int]]) -> float | None:
        total = sum(self.spec.files.values())
        if not total:
            return None
        done = sum(min(size, self.spec.files.get(name, 0)) for name, (size, _) in there.items())
        for name in self.spec.files.keys() - there.keys():
            done += _size(self._folder / f".{name}.new")
        return round(min(done / total, 1.0), 4)


class Models:
    """All models of the engine.

    Args:
        settings: which, and where their files are.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.all = {spec.name: Held(spec, settings) for spec in settings.models}
        self._purposes = {
            purpose: held for held in reversed(self.all.values()) for purpose in held.spec.purposes
        }  # the first that says so

    def find(self, name: object) -> Held:
        """The model of that name, or for that purpose.

        Raises:
            EngineError: there is none.
        """
        if not isinstance(name, str):
            raise EngineError(400, "invalid_request", "'model' must be the name of a model", param="model")
        held = self.all.get(name) or self._purposes.get(name)
        if held is None:
            text = f"there is no model {name[:80]!r} here, but {', '.join(self.all) or 'none at all'}"
            raise EngineError(404, "model_not_found", text, param="model")
        return held

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Look after the folder meanwhile; all models are unloaded in the end."""
        tasks = [asyncio.create_task(self._watch(held), name=f"watch {held.spec.name}") for held in self.all.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            for held in self.all.values():
                await held.unload()

    async def _watch(self, held: Held) -> None:
        while True:
            try:
                await held.look()
            except Exception:
                _log.exception("cannot look after a model", model=held.spec.name)
            await asyncio.sleep(self._settings.poll)


class ModelsProbe:
    """What health says of the models. None of them makes the service ill: it says what there is."""

    name = "models"

    def __init__(self, models: Models) -> None:
        self._models = models

    async def ask(self) -> dict[str, str]:
        """States by model."""
        return {name: held.status().state for name, held in self._models.all.items()}

    async def close(self) -> None:
        """Nothing is held."""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
