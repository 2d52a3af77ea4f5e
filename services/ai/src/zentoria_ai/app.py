"""The application: its routes, and what it asks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI
from zentoria_common import redis
from zentoria_common.application import make_app
from zentoria_common.database import DatabaseProbe, make_engine
from zentoria_common.health.probe import Probe
from zentoria_common.identity import Callers
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.redis import RedisProbe

from zentoria_ai import __version__
from zentoria_ai.answers import api as answers_api
from zentoria_ai.intents import api as intents_api
from zentoria_ai.plans import api as plans_api
from zentoria_ai.probes import EngineProbe, Lenient, RetrievalProbe
from zentoria_ai.services import Services, make_services
from zentoria_ai.settings import Secrets, Settings, load_identity

NAME = "zentoria-ai"


def make_probes(settings: Settings, secrets: Secrets, services: Services | None = None) -> tuple[Probe, ...]:
    """The real dependencies. Nothing connects before it is asked."""
    made = services or make_services(settings, secrets, None)
    password = secrets.database_password
    pool = make_engine(settings, password, application=NAME, pool_size=1)
    return (
        Lenient(DatabaseProbe(pool, password.get_secret_value())),
        RedisProbe(made.redis, secrets.redis_password.get_secret_value()),
        EngineProbe(made.engine, settings.chat_model, made.understanding.embedder),
        RetrievalProbe(settings.rag_url),
    )


def create_app(
    settings: Settings,
    services: Services,
    probes: Sequence[Probe],
    callers: Callers,
    lifecycle: Lifecycle | None = None,
) -> FastAPI:
    """Make the application. It owns ``services`` and ``probes`` from its startup on, and closes them when it stops."""

    @contextlib.asynccontextmanager
    async def opened(_app: FastAPI) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await services.close()

    app = make_app(
        settings,
        probes,
        name=NAME,
        title="Zentoria orchestrator",
        version=__version__,
        lifecycle=lifecycle,
        lifespan=opened,
        callers=callers,
        outages=redis.OUTAGES,
    )
    app.state.services = services
    app.include_router(intents_api.router)
    app.include_router(plans_api.router)
    app.include_router(answers_api.router)
    return app


def open_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """The application with its real dependencies.

    Raises:
        SettingsError: a key cannot be read.
    """
    services = make_services(settings, secrets, load_identity(settings))
    callers = Callers.read(settings.container_name, settings.callers_file)
    return create_app(settings, services, make_probes(settings, secrets, services), callers)
