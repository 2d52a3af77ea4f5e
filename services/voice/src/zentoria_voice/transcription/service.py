"""One file to its transcript."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zentoria_common.places import Places
from zentoria_common.problems import Problem

from zentoria_voice.audio.decode import Samples, decode, seconds_of
from zentoria_voice.models import Kept
from zentoria_voice.settings import Settings
from zentoria_voice.transcription.formats import Transcript
from zentoria_voice.transcription.whisper import Heard, Options, listen

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Transcriber:
    """Transcribes with one model. Files and WebSockets share its places."""

    settings: Settings
    model: Kept[WhisperModel]
    places: Places
    threads: concurrent.futures.ThreadPoolExecutor

    async def transcribe(self, file: Path, work: Path, options: Options) -> Transcript:
        """Transcribe a file. Whoever stops waiting ends it.

        Raises:
            Problem: it is no audio, too long, or nobody speaks in it; the model is not there.
        """
        if self.model.state != "ready":
            await self.in_thread(lambda _: self.model.get())  # it says why
        async with self.places.one():
            samples = await decode(file, work, self.settings.max_seconds)
            heard = await self.hear(samples, options)
        duration = seconds_of(samples)
        if not heard:
            detail = f"nobody speaks in these {duration:.1f} s of audio, or not so that it could be understood"
            raise Problem(422, detail, kind="no-speech", duration=round(duration, 3))
        return Transcript(heard[0].language, duration, tuple(one.segment for one in heard))

    async def hear(self, samples: Samples, options: Options) -> list[Heard]:
        """What is heard; to be called with a place.

        Raises:
            Problem: the model is not there, or does not know the language.
        """

        def run(gone: threading.Event) -> list[Heard]:
            model = self.model.get()
            known = model.supported_languages
            if options.language is not None and options.language not in known:
                detail = f"model {self.model.name} does not know this language"
                raise Problem(422, detail, kind="language-unknown", languages=sorted(known))
            return list(listen(model, samples, options, gone))

        return await self.in_thread(run)

    async def in_thread(self, work: Callable[[threading.Event], _Result]) -> _Result:
        """Do work in a thread; when nobody waits for it any more, the event that it gets is set."""
        gone = threading.Event()
        future = asyncio.get_running_loop().run_in_executor(self.threads, work, gone)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            gone.set()
            # The place is free when the thread is: a window of 30 s is not stopped in its middle.
            await asyncio.wait({future})
            if not future.cancelled():
                future.exception()
            raise
