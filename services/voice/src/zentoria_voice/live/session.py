"""One conversation: samples in, events out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from zentoria_common.problems import Problem

from zentoria_voice.audio.child import RATE
from zentoria_voice.audio.decode import Samples
from zentoria_voice.transcription.service import Transcriber
from zentoria_voice.transcription.whisper import Options, as_float, speech

LOOK = int(0.3 * RATE)
"""Samples that have to come before it is looked again whether somebody speaks."""
PARTIAL = int(1.0 * RATE)
"""Samples of speech that have to come before there is another partial result."""
SILENCE = int(0.7 * RATE)
"""Samples of silence that end what somebody says."""
LONGEST = 28 * RATE
"""What goes on for longer is cut: Whisper hears thirty seconds at a time."""
BEFORE = RATE
"""Silence that is kept before somebody speaks."""
MOST_BEHIND = 60 * RATE
"""What was sent and not looked at yet."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class TooFast(Exception):
    """More comes in than can be heard."""


@dataclasses.dataclass
class Session:
    """Hears one speaker.

    Args:
        transcriber: that hears.
        send: gives an event to the client.
        language: as ``en``; None: it is found out, for each utterance.
    """

    transcriber: Transcriber
    send: Send
    language: str | None = None

    def __post_init__(self) -> None:
        self._new: list[Samples] = []
        self._waiting = 0
        self._came = asyncio.Event()
        self._ended = False
        self._held = np.zeros(0, np.int16)
        self._base = 0
        self._speaking = False
        self._partial_at = 0

    def add(self, data: bytes) -> None:
        """Take samples: 16 bits, little endian, mono, 16,000 a second.

        Raises:
            TooFast: they come faster than they can be heard.
        """
        samples = np.frombuffer(data, "<i2").astype(np.int16)
        self._waiting += len(samples)
        if self._waiting > MOST_BEHIND:
            raise TooFast
        self._new.append(samples)
        self._came.set()

    def end(self) -> None:
        """There is no more."""
        self._ended = True
        self._came.set()

    async def run(self) -> None:
        """Hear until there is no more.

        Raises:
            Problem: it cannot be heard.
        """
        looked = 0
        while True:
            await self._came.wait()
            self._came.clear()
            self._take()
            ended, whole = self._ended, self._base + len(self._held)
            if whole - looked >= LOOK or ended:
                looked = whole
                await self._look(ended=ended)
            if ended and not self._new:
                return

    def _take(self) -> None:
        if self._new:
            self._held = np.concatenate([self._held, *self._new])
            self._new.clear()
            self._waiting = 0

    async def _look(self, *, ended: bool) -> None:
        """Look at what is held: somebody begins to speak, goes on, or ends."""
        while True:
            found = await self.transcriber.in_thread(lambda _: speech(as_float(self._held)))
            if not found:
                self._speaking = False
                self._drop(max(0, len(self._held) - BEFORE))
                return
            start, stop = found[0]
            if not self._speaking:
                self._speaking, self._partial_at = True, self._base + start
                await self.send({"event": "speech_start", "start": self._seconds(start)})
            more = len(found) > 1
            if not (more or ended or len(self._held) - stop >= SILENCE or len(self._held) >= LONGEST):
                if self._base + len(self._held) - self._partial_at >= PARTIAL and self.transcriber.places.idle:
                    self._partial_at = self._base + len(self._held)
                    await self._hear("partial", start, len(self._held))
                return
            stop = min(stop, start + LONGEST)
            await self._hear("final", start, stop)
            self._speaking = False
            self._drop(stop)
            if not more and not ended and len(self._held) < LOOK:
                return

    async def _hear(self, event: str, start: int, stop: int) -> None:
        final = event == "final"
        beam = self.transcriber.settings.beam_size if final else 1
        options = Options(language=self.language, beam_size=beam, temperature=None if final else 0.0)
        try:
            async with self.transcriber.places.one():
                heard = await self.transcriber.hear(self._held[start:stop], options)
        except Problem as error:
            if final or error.kind != "unavailable":
                raise
            return  # a partial result is no use later
        text = "".join(one.segment.text for one in heard).strip()
        if text or (final and self._speaking):
            language = heard[0].language if heard else self.language
            told = {"event": event, "text": text, "start": self._seconds(start), "end": self._seconds(stop)}
            await self.send({**told, "language": language})

    def _drop(self, count: int) -> None:
        self._held = self._held[count:]
        self._base += count

    def _seconds(self, sample: int) -> float:
        return round((self._base + sample) / RATE, 3)
