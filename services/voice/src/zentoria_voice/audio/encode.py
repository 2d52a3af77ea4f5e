"""Audio of ours to a file's bytes, piece by piece, by FFmpeg's libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

Format = Literal["wav", "mp3", "opus", "flac"]
MEDIA_TYPES: Mapping[Format, str] = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
}
_CONTAINERS: Mapping[Format, tuple[str, str, int | None]] = {
    "wav": ("wav", "pcm_s16le", None),
    "mp3": ("mp3", "libmp3lame", None),
    "opus": ("ogg", "libopus", 48_000),
    "flac": ("flac", "flac", None),
}
"""FFmpeg's container, codec, and the rate that it must have."""


class _Sink:
    """What is written, until somebody takes it. It cannot be wound back: sizes that come later stay unknown."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


class Encoder:
    """Encodes one piece of audio after the other.

    Args:
        kind: of file.
        rate: samples a second of what comes in.
    """

    def __init__(self, kind: Format, rate: int) -> None:
        container, codec, fixed = _CONTAINERS[kind]
        self._sink, self._rate = _Sink(), rate
        self._container = av.open(self._sink, "w", format=container)
        stream = self._container.add_stream(codec, rate=fixed or rate, layout="mono")
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - of an audio codec it is one; for the type checker
        self._stream = stream

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """Encode samples between -1 and 1; returns what the file has more by then."""
        whole = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """The end of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()
