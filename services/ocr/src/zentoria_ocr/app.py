"""The application: its routes, and what it asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import structlog
from fastapi import FastAPI
from zentoria_common import s3
from zentoria_common.application import make_app
from zentoria_common.health.probe import Probe
from zentoria_common.identity import Callers
from zentoria_common.places import Places
from zentoria_common.s3 import S3Probe
from zentoria_common.settings import read_secrets

from zentoria_ocr import __version__
from zentoria_ocr.health import TesseractProbe
from zentoria_ocr.objects import Objects
from zentoria_ocr.paperless import api as paperless_api
from zentoria_ocr.paperless.client import Paperless
from zentoria_ocr.recognition import api as recognition_api
from zentoria_ocr.recognition.repository import Store
from zentoria_ocr.recognition.service import Recogniser
from zentoria_ocr.settings import PaperlessSecrets, Secrets, Settings

NAME = "zentoria-ocr"
SWEEP_SECONDS = 3600.0
_log = structlog.stdlib.get_logger("zentoria_ocr.app")


def make_probes(settings: Settings, secrets: Secrets) -> Sequence[Probe]:
    """The real dependencies. Nothing connects before it is asked."""
    objects = Objects(settings, secrets.s3_secret_key)
    return (
        S3Probe(objects.bucket(settings.s3_bucket_documents), secrets.s3_secret_key.get_secret_value()),
        TesseractProbe(settings.languages),
    )


def create_app(settings: Settings, secrets: Secrets, probes: Sequence[Probe] | None = None) -> FastAPI:
    """Make the application."""
    store = Store(settings.state_folder)
    objects = Objects(settings, secrets.s3_secret_key)
    paperless = make_paperless(settings)

    @contextlib.asynccontextmanager
    async def open_store(_app: FastAPI) -> AsyncGenerator[None]:
        store.open()
        sweeper = asyncio.create_task(_sweep(store, settings.keep_seconds), name="sweep")
        try:
            yield
        finally:
            sweeper.cancel()
            await asyncio.wait({sweeper})
            if paperless is not None:
                await paperless.close()

    app = make_app(
        settings,
        make_probes(settings, secrets) if probes is None else probes,
        name=NAME,
        title="Zentoria text recognition",
        version=__version__,
        lifespan=open_store,
        callers=Callers.read(settings.container_name, settings.callers_file),
        outages=s3.OUTAGES,
    )
    places = Places("recognition", settings.parallel, settings.queue)
    app.state.recogniser = Recogniser(settings, objects, store, places)
    app.state.objects, app.state.paperless = objects, paperless
    app.include_router(recognition_api.router)
    app.include_router(paperless_api.router)
    return app


def make_paperless(settings: Settings) -> Paperless | None:
    """The client of Paperless-ngx; None: it is not installed, or gave out no token yet.

    Raises:
        SettingsError: the token's file cannot be used.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    has_token = settings.paperless_token_file is not None or (folder and (Path(folder) / "paperless_token").exists())
    if not settings.paperless_url or not has_token:
        return None
    return Paperless(settings.paperless_url, read_secrets(PaperlessSecrets, settings).paperless_token)


async def _sweep(store: Store, keep: float) -> None:
    while True:
        count = await asyncio.to_thread(store.forget, keep)
        if count:
            _log.info("results of pages are forgotten", count=count)
        await asyncio.sleep(SWEEP_SECONDS)
