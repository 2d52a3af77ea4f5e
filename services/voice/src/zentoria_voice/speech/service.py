"""A text to audio, a sentence at a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import io
import logging
import shutil
import wave
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from zentoria_common.places import Places
from zentoria_common.problems import Problem, Unavailable

from zentoria_voice.audio.encode import Encoder, Format
from zentoria_voice.models import Kept, voices
from zentoria_voice.settings import Settings
from zentoria_voice.speech.sentences import sentences

if TYPE_CHECKING:
    from kokoro_onnx import Kokoro

ALIASES = {"alloy": "af_heart", "nova": "af_heart", "shimmer": "bf_emma", "echo": "am_michael", "onyx": "bm_george"}
"""OpenAI's names of voices, for programs that know no others."""
DEFAULT = "af_heart"
ESPEAK = "espeak"
# It warns of each sentence whose words have another number of words in sounds.
logging.getLogger("phonemizer").setLevel(logging.ERROR)
KOKORO_RATE, ESPEAK_RATE = 24_000, 22_050
WORDS_A_MINUTE = 165
PAUSE = 0.2
"""Seconds between two sentences."""


@dataclasses.dataclass(frozen=True)
class Utterance:
    """What is to be said.

    Args:
        text: to be spoken.
        voice: ``espeak``, a voice of Kokoro's, or one of OpenAI's names.
        language: as ``en`` or ``de-at``; empty: the voice's own.
        speed: 1 is usual.
    """

    text: str
    voice: str
    language: str
    speed: float

    @property
    def is_kokoro(self) -> bool:
        """Kokoro speaks English here: its other languages need programs of their own for the sounds."""
        return self.voice != ESPEAK and self.language.partition("-")[0] in ("", "en")


@dataclasses.dataclass(frozen=True)
class Speaker:
    """Speaks with one model, and with espeak-ng."""

    settings: Settings
    model: Kept[Kokoro]
    places: Places
    threads: concurrent.futures.ThreadPoolExecutor

    def voices(self) -> list[dict[str, str]]:
        """What there is now."""
        found = [
            {"id": name, "engine": "kokoro", "language": "en-gb" if name.startswith("b") else "en-us"}
            for name in voices(self.model.folder)
            if self.model.state == "ready"
        ]
        return [*found, {"id": ESPEAK, "engine": "espeak-ng", "language": "any"}]

    async def speak(self, said: Utterance, kind: Format) -> AsyncIterator[bytes]:
        """The bytes of a file, as they come. Whoever stops listening ends it.

        Raises:
            Problem: at the first piece: there is nothing to say, no such voice or language, no model.
        """
        async with self.places.one():
            encoder = Encoder(kind, KOKORO_RATE if said.is_kokoro else ESPEAK_RATE)
            rate = KOKORO_RATE if said.is_kokoro else ESPEAK_RATE
            pause = np.zeros(int(PAUSE * rate), np.float32)
            spoken = 0
            for sentence in sentences(said.text):
                audio = await (self._kokoro(sentence, said) if said.is_kokoro else _espeak(sentence, said))
                if len(audio):
                    piece = encoder.feed(np.concatenate([pause, audio]) if spoken else audio)
                    spoken += 1
                    if piece:
                        yield piece
            if not spoken:
                raise Problem(422, "there is nothing in the text that could be spoken", kind="nothing-to-say")
            yield encoder.finish()

    async def _kokoro(self, sentence: str, said: Utterance) -> NDArray[np.float32]:
        name = ALIASES.get(said.voice, said.voice)

        def run() -> NDArray[np.float32]:
            model = self.model.get()
            if name not in voices(self.model.folder):
                raise Problem(422, "there is no such voice", kind="no-such-voice", voices=[
                    one["id"] for one in self.voices()
                ])  # fmt: skip
            language = "en-gb" if name.startswith("b") or said.language == "en-gb" else "en-us"
            try:
                audio, _ = model.create(sentence, name, speed=said.speed, lang=language)
            except ValueError:  # signs without a sound
                return np.zeros(0, np.float32)
            return np.asarray(audio, np.float32)

        future = asyncio.get_running_loop().run_in_executor(self.threads, run)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})  # a sentence: the place is free when the thread is
            if not future.cancelled():
                future.exception()
            raise


async def _espeak(sentence: str, said: Utterance) -> NDArray[np.float32]:
    """Spoken by the program, in a process of its own: it is licensed as GPL, and mature, and robotic."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise Unavailable("espeak-ng", "espeak-ng is not installed, and speaks all languages but English")
    process = await asyncio.create_subprocess_exec(
        program, "-v", said.language or "en", "-s", str(round(WORDS_A_MINUTE * said.speed)), "--stdin", "--stdout",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        made, _ = await process.communicate(sentence.encode())
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if process.returncode or len(made) <= 44:
        raise Problem(422, "there is no voice for this language", kind="language-unknown")
    with wave.open(io.BytesIO(made)) as file:  # its header names no length that is true: it goes to the end
        return np.frombuffer(file.readframes(len(made)), np.int16).astype(np.float32) / np.float32(32768)
