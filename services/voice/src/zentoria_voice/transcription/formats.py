"""A transcript as JSON, text, or subtitles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from zentoria_voice.transcription.whisper import Segment

Format = Literal["json", "verbose_json", "text", "srt", "vtt"]


@dataclasses.dataclass(frozen=True)
class Transcript:
    """All that was heard. ``duration`` is that of the audio, in seconds."""

    language: str
    duration: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(segment.text for segment in self.segments).strip()


def verbose(transcript: Transcript, *, segments: bool, words: bool) -> dict[str, Any]:
    """OpenAI's ``verbose_json``."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if segments:
        found["segments"] = [
            {
                "id": number,
                "seek": 0,
                "start": one.start,
                "end": one.end,
                "text": one.text,
                "tokens": [],
                "temperature": one.temperature,
                "avg_logprob": one.avg_logprob,
                "compression_ratio": one.compression_ratio,
                "no_speech_prob": one.no_speech_prob,
            }
            for number, one in enumerate(transcript.segments)
        ]
    if words:
        found["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for one in transcript.segments
            for word in one.words
        ]
    return found


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered, times with a comma."""
    return "\n".join(
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_lines(one.text)}\n"
        for number, one in enumerate(segments, 1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    cues = "\n".join(
        f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_escaped(_lines(one.text))}\n" for one in segments
    )
    return f"WEBVTT\n\n{cues}"


def _lines(text: str) -> str:
    """A cue's text. An arrow would be read as times, an empty line as the cue's end."""
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, mark: str) -> str:
    whole = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
