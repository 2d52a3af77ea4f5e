"""The application: its routes, and what they work with."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import shutil
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI
from zentoria_common.application import make_app
from zentoria_common.health.probe import Probe
from zentoria_common.identity import Callers
from zentoria_common.places import Places

from zentoria_voice import __version__
from zentoria_voice.live import api as live_api
from zentoria_voice.models import kokoro, whisper
from zentoria_voice.settings import Secrets, Settings
from zentoria_voice.speech import api as speech_api
from zentoria_voice.speech.service import Speaker
from zentoria_voice.transcription import api as transcription_api
from zentoria_voice.transcription.service import Transcriber

NAME = "zentoria-voice"
REST_SECONDS = 30.0
FILES = ("/v1/audio/transcriptions",)
# Models come from our folder. A library that would look for one at a hub finds its door closed.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_OFFLINE": "1"}


class ModelsProbe:
    """Says which models are there. One that is not is no failure: the service answers, and says so."""

    name = "models"

    def __init__(self, settings: Settings) -> None:
        self._models = (
            whisper(settings.models_folder / settings.transcription_model, settings.threads),
            kokoro(settings.models_folder / settings.speech_model, settings.threads),
        )

    async def ask(self) -> dict[str, str]:
        """Look."""
        found = {one.name: one.state for one in self._models}
        return {**found, "espeak-ng": "ready" if shutil.which("espeak-ng") else "not installed"}

    async def close(self) -> None:
        """It holds nothing."""


def make_probes(settings: Settings, secrets: Secrets) -> Sequence[Probe]:
    """What is asked for the service's health."""
    return (ModelsProbe(settings),)


def create_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """Make the application."""
    hearing = concurrent.futures.ThreadPoolExecutor(settings.parallel + 2, "hearing")
    speaking = concurrent.futures.ThreadPoolExecutor(settings.parallel, "speaking")
    transcriber = Transcriber(
        settings,
        whisper(settings.models_folder / settings.transcription_model, settings.threads),
        Places("transcription", settings.parallel, settings.queue),
        hearing,
    )
    speaker = Speaker(
        settings,
        kokoro(settings.models_folder / settings.speech_model, settings.threads),
        Places("speech", settings.parallel, settings.queue),
        speaking,
    )

    @contextlib.asynccontextmanager
    async def open_models(_app: FastAPI) -> AsyncGenerator[None]:
        async def rest() -> None:
            while True:
                await asyncio.sleep(REST_SECONDS)
                transcriber.model.rest(settings.idle_seconds)
                speaker.model.rest(settings.idle_seconds)

        resting = asyncio.create_task(rest(), name="rest")
        try:
            yield
        finally:
            resting.cancel()
            await asyncio.wait({resting})
            for pool in (hearing, speaking):
                pool.shutdown(wait=False, cancel_futures=True)

    app = make_app(
        settings,
        make_probes(settings, secrets),
        name=NAME,
        title="Zentoria voice",
        version=__version__,
        lifespan=open_models,
        callers=Callers.read(settings.container_name, settings.callers_file),
        files=FILES,
    )
    app.state.transcriber, app.state.speaker = transcriber, speaker
    app.state.streams = live_api.Streams(settings.streams)
    app.include_router(transcription_api.router)
    app.include_router(speech_api.router)
    app.include_router(live_api.router)
    return app
