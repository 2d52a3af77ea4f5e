"""What the voice service is told by its unit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import Field
from zentoria_common.settings import IdentitySettings, Name, Port, Seconds


class Settings(IdentitySettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 9300
    stream_port: Port = 9301
    models_folder: Path = Path("/var/lib/zentoria-voice/models")
    """A folder for each model. They may come, go and change while the service runs."""
    transcription_model: Name = "whisper-base"
    speech_model: Name = "kokoro"
    idle_seconds: Seconds = 900.0
    """A model that nobody used for so long gives its memory back."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """That one model may use."""

    parallel: Annotated[int, Field(ge=1, le=32)] = 1
    """Files that are transcribed at a time, and texts that are spoken at a time."""
    queue: Annotated[int, Field(ge=0, le=1000)] = 4
    """How many more may wait for that; further ones are refused."""
    streams: Annotated[int, Field(ge=1, le=1000)] = 8
    """WebSockets that may be open."""
    max_seconds: Annotated[float, Field(gt=0, le=86_400)] = 7200.0
    """Of audio, in a file or on a WebSocket."""
    beam_size: Annotated[int, Field(ge=1, le=10)] = 5
    max_characters: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Of a text that is spoken."""


@dataclasses.dataclass(frozen=True)
class Secrets:
    """It has none of its own."""
