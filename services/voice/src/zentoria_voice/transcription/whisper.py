"""faster-whisper over audio of any length: a block at a time, cut where nobody speaks. Runs in threads."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zentoria_voice.audio.child import RATE
from zentoria_voice.audio.decode import Samples

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

BLOCK_SECONDS = 120
"""Features of a block take a few megabytes; those of two hours would take a gigabyte."""
PAUSE_MS = 500
NO_SPEECH = 0.6
UNSURE = -1.0
"""Whisper's own bounds for text that is none: more than this likely no speech, and less sure than that (log)."""


class Cancelled(Exception):
    """Nobody waits for it any more."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How to listen.

    Args:
        language: as ``en``; None: it is found out.
        prompt: text that came before, or words to expect.
        words: times of words are wanted.
        beam_size: how many readings are followed.
        temperature: of sampling; None: rising, where a reading fails.
    """

    language: str | None = None
    prompt: str | None = None
    words: bool = False
    beam_size: int = 5
    temperature: float | None = None


@dataclasses.dataclass(frozen=True)
class Word:
    """Times are seconds from the beginning."""

    word: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Segment:
    """A sentence or so. Times are seconds from the beginning."""

    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    words: tuple[Word, ...] = ()


@dataclasses.dataclass(frozen=True)
class Heard:
    """A segment, and the language that it is in."""

    segment: Segment
    language: str


def speech(audio: NDArray[np.float32], pause_ms: int = PAUSE_MS) -> list[tuple[int, int]]:
    """Where somebody speaks: first and last sample of each piece, by Silero's model in faster-whisper."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if len(audio) == 0:
        return []
    options = VadOptions(min_silence_duration_ms=pause_ms, min_speech_duration_ms=150, speech_pad_ms=200)
    return [(int(one["start"]), int(one["end"])) for one in get_speech_timestamps(audio, options)]


def as_float(samples: Samples) -> NDArray[np.float32]:
    """Numbers between -1 and 1."""
    return samples.astype(np.float32) / np.float32(32768)


def listen(model: WhisperModel, samples: Samples, options: Options, gone: threading.Event) -> Iterator[Heard]:
    """Transcribe.

    Args:
        model: that is used.
        samples: 16,000 a second.
        options: how.
        gone: set when nobody waits for it any more.

    Raises:
        Cancelled: ``gone`` was set.
    """
    language, prompt = options.language, options.prompt
    at = 0
    while at < len(samples):
        block = as_float(samples[at : at + BLOCK_SECONDS * RATE])
        found = speech(block)
        cut = _cut(found, len(block), last=at + len(block) >= len(samples))
        if gone.is_set():
            raise Cancelled
        if any(start < cut for start, _ in found):
            offset = at / RATE
            for heard in _block(model, block[:cut], dataclasses.replace(options, language=language, prompt=prompt)):
                if gone.is_set():
                    raise Cancelled
                language, prompt = heard.language, heard.segment.text
                yield Heard(_shifted(heard.segment, offset), heard.language)
        at += cut


def _cut(found: list[tuple[int, int]], length: int, *, last: bool) -> int:
    """Where a block ends: before the piece of speech that may go on in the next one."""
    if last or not found or found[-1][1] < length - RATE // 2:
        return length
    start = found[-1][0]
    return start if start > length // 4 else length


def _block(model: WhisperModel, audio: NDArray[np.float32], options: Options) -> Iterator[Heard]:
    further: dict[str, Any] = {} if options.temperature is None else {"temperature": options.temperature}
    segments, info = model.transcribe(
        audio, language=options.language, initial_prompt=options.prompt, word_timestamps=options.words,
        beam_size=options.beam_size, vad_filter=True, vad_parameters={"min_silence_duration_ms": PAUSE_MS},
        condition_on_previous_text=False, **further,
    )  # fmt: skip
    for one in segments:
        if not one.text.strip() or (one.no_speech_prob > NO_SPEECH and one.avg_logprob < UNSURE):
            continue
        words = tuple(Word(word.word, float(word.start), float(word.end)) for word in one.words or ())
        yield Heard(
            Segment(
                float(one.start), float(one.end), one.text, float(one.avg_logprob), float(one.no_speech_prob),
                float(one.compression_ratio), float(one.temperature or 0), words,
            ),
            str(info.language),
        )  # fmt: skip


def _shifted(segment: Segment, offset: float) -> Segment:
    words = tuple(Word(one.word, round(one.start + offset, 3), round(one.end + offset, 3)) for one in segment.words)
    return dataclasses.replace(
        segment, start=round(segment.start + offset, 3), end=round(segment.end + offset, 3), words=words
    )
