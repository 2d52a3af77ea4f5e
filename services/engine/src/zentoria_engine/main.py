"""The console script ``zentoria-engine``: language models and embeddings, behind OpenAI's routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI, Request, Response
from zentoria_common.application import make_app
from zentoria_common.health.probe import Probe
from zentoria_common.program import Program

from zentoria_engine.api import router
from zentoria_engine.counted import EngineMetrics
from zentoria_engine.errors import EngineError
from zentoria_engine.models import Models, ModelsProbe
from zentoria_engine.settings import EngineSettings, Secrets

NAME, VERSION = "zentoria-engine", "0.1.0"


def create_app(settings: EngineSettings, secrets: Secrets) -> FastAPI:
    """Make the application."""
    models, metrics = Models(settings), EngineMetrics()
    metrics.watch(models)

    @contextlib.asynccontextmanager
    async def open_models(app: FastAPI) -> AsyncGenerator[None]:
        async with models.watched():
            yield

    app = make_app(
        settings,
        (ModelsProbe(models),),
        name=NAME,
        title="Zentoria engine",
        version=VERSION,
        metrics=metrics,
        lifespan=open_models,
    )
    app.state.models = models
    app.include_router(router(models, metrics, VERSION))
    app.add_exception_handler(EngineError, _told)
    return app


async def _told(request: Request, error: Exception) -> Response:
    if not isinstance(error, EngineError):
        raise error
    return error.response()


def probes(settings: EngineSettings, secrets: Secrets) -> Sequence[Probe]:
    """What ``check`` asks: where the models are is all that it needs."""
    return (ModelsProbe(Models(settings)),)


PROGRAM = Program(
    NAME,
    "Zentoria's engine for language models.",
    VERSION,
    EngineSettings,
    Secrets,
    probes,
    create_app,
    lambda settings: {"http": settings.http_port},
)


def run(arguments: list[str] | None = None) -> None:
    """Entry point."""
    PROGRAM.run(arguments)
