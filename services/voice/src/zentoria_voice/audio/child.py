"""The process that decodes one file: any format that FFmpeg reads, to 16 kHz mono in 16 bits.

What others made is opened here and nowhere else. Its exit code says what became of it.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import Any

RATE = 16_000
NOT_AUDIO, TOO_LONG, TOO_MUCH = 3, 4, 5
MEMORY = 768 << 20
"""RLIMIT_DATA: a video's tables may be large; its pictures are not decoded."""
PLAYLISTS = frozenset(
    {"concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "tedcaptions", "webm_dash_manifest"}
)
"""Formats that name other files or addresses to read."""


def main(source: Path, target: Path, seconds: float) -> int:
    """Decode ``source`` into ``target``; returns the exit code."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import av

    av.logging.set_level(None)
    most = int(seconds * RATE)
    formats = ",".join(sorted(av.formats_available - PLAYLISTS))
    options = {"format_whitelist": formats, "protocol_whitelist": ""}
    # Titles in another encoding are no reason not to listen: PyAV 19 has no such option any more, for it never minds.
    lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:
        with source.open("rb") as file, av.open(file, options=options, **lenient) as container:
            if not container.streams.audio:
                return NOT_AUDIO
            return _decode(container, target, most)
    except MemoryError:
        return TOO_MUCH
    except (av.error.FFmpegError, OSError, ValueError):
        return NOT_AUDIO


def _decode(container: object, target: Path, most: int) -> int:
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    written, broken = 0, 0
    with target.open("wb") as out:
        frames = container.decode(audio=0)  # type: ignore[attr-defined] # av's, which is imported late
        while True:
            try:
                frame = next(frames, None)
            except av.error.InvalidDataError:
                broken += 1  # a packet that is spoilt is left out, as players do
                if broken > 1000:
                    return NOT_AUDIO
                continue
            if frame is not None:
                frame.pts = None
            for one in resampler.resample(frame):
                data = one.to_ndarray().tobytes()
                written += len(data) // 2
                if written > most:
                    return TOO_LONG
                out.write(data)
            if frame is None:
                return 0 if written else NOT_AUDIO


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
