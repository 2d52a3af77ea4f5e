"""What the engine is told by its unit."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from zentoria_common.settings import CommonSettings


class ModelSpec(BaseModel):
    """A model that is to be served, as the inventory describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    purposes: tuple[str, ...] = ()
    """What it is used for, as ``chat``; a purpose is another name for it."""
    context: Annotated[int, Field(ge=16, le=10_000_000)] = 4096
    """Tokens of prompt and answer together."""
    dimension: Annotated[int, Field(ge=1)] | None = None
    """Of an embedding model's vectors: then it is one."""
    files: dict[str, int] = {}
    """Sizes of its files in bytes, by name."""

    @property
    def embeds(self) -> bool:
        """Whether it makes vectors, and does not talk."""
        return self.dimension is not None


class EngineSettings(CommonSettings):
    """The engine's. Times are in seconds."""

    http_port: int = 11434
    models_folder: Path
    """A folder for each model, called as the model."""
    models: tuple[ModelSpec, ...] = ()
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """That compute; 0: as many as there are cores."""
    parallel: Annotated[int, Field(ge=0, le=64)] = 0
    """Answers of one model that are made at the same time, each with the whole context; 0: one for four cores."""
    waiting: Annotated[int, Field(ge=0, le=1000)] = 16
    """Requests that wait for a model; more are refused."""
    waiting_per_user: Annotated[int, Field(ge=1, le=1000)] = 4
    """Requests of one user at a model, those at work among them."""
    keep_alive: Annotated[float, Field(ge=0)] = 0
    """A model that nobody asked for so long is unloaded; 0: never."""
    gpu_layers: Annotated[int, Field(ge=0, le=1000)] = 0
    """Layers that are computed on a GPU, where this machine has one that the engine can use."""
    cache_type: Literal["f16", "q8_0"] = "f16"
    """How what was read of a context is kept: q8_0 takes half of the memory."""
    poll: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How often the folder is looked at."""
    retry: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long a model that could not be loaded is left alone, unless its file changes."""
    max_json_bytes: int = 16 * 1024 * 1024

    @property
    def cores(self) -> int:
        """Threads that compute."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def slots(self) -> int:
        """Answers of one model at the same time."""
        return self.parallel or max(1, self.cores // 4)


@dataclasses.dataclass(frozen=True)
class Secrets:
    """It has none."""
