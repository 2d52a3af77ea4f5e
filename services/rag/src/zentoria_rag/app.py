"""The application: its routes, and what it asks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Mapping, Sequence

from fastapi import FastAPI
from zentoria_common import database, s3
from zentoria_common.application import make_app
from zentoria_common.database import DatabaseProbe, SchemaProbe
from zentoria_common.engine import EngineClient, EngineError
from zentoria_common.health.probe import Probe
from zentoria_common.identity import Callers
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.s3 import S3Probe
from zentoria_schema import head

from zentoria_rag import __version__
from zentoria_rag.documents import api as documents
from zentoria_rag.messages import api as messages
from zentoria_rag.search import api as search
from zentoria_rag.services import NAME, Services, make_services
from zentoria_rag.settings import Secrets, Settings

OUTAGES: Mapping[type[Exception], str] = {**database.OUTAGES, **s3.OUTAGES}
DATABASE = "zentoria_vectors"


class EngineProbe:
    """Says how the embedding model is. It is no reason to be unwell: words are found without it, and it comes back."""

    name = "engine"

    def __init__(self, settings: Settings) -> None:
        self._model = settings.embedding_model
        self._client = EngineClient(settings.engine_url, first=settings.dependency_timeout * 0.9)

    async def ask(self) -> dict[str, str]:
        """Ask for its models."""
        try:
            found = {one.id: one for one in await self._client.models()}
        except EngineError as error:
            return {"model": self._model, "state": "degraded", "why": type(error).__name__}
        # Ollama names a model with its tag.
        model = found.get(self._model) or found.get(f"{self._model}:latest")
        if model is None:
            return {"model": self._model, "state": "degraded", "why": "the engine does not have it"}
        return {"model": self._model, "state": "ready" if model.state == "ready" else "degraded", "why": model.state}

    async def close(self) -> None:
        """End connections."""
        await self._client.close()


def make_probes(settings: Settings, secrets: Secrets, services: Services | None = None) -> tuple[Probe, ...]:
    """The real dependencies, over the connections that the service works with. Nothing connects before it is asked."""
    made = services or make_services(settings, secrets)
    return (
        DatabaseProbe(made.database.engine, secrets.database_password.get_secret_value()),
        _schema(made, secrets),
        S3Probe(made.objects.bucket(settings.s3_bucket_documents), secrets.s3_secret_key.get_secret_value()),
        EngineProbe(settings),
    )


def required(settings: Settings, secrets: Secrets) -> tuple[Probe, ...]:
    """What must be right before anything is served: the database's tables are those of this release."""
    return (_schema(make_services(settings, secrets), secrets, closes=True),)


def _schema(services: Services, secrets: Secrets, *, closes: bool = False) -> SchemaProbe:
    trouble = functools.partial(head.trouble, DATABASE)
    password = secrets.database_password.get_secret_value()
    return SchemaProbe(services.database.engine, trouble, password, closes=closes)


def create_app(
    settings: Settings,
    services: Services,
    probes: Sequence[Probe],
    callers: Callers,
    lifecycle: Lifecycle | None = None,
) -> FastAPI:
    """Make the application. It owns ``services`` and ``probes`` from its startup on, and closes them when it stops."""

    @contextlib.asynccontextmanager
    async def open_services(_app: FastAPI) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            yield

    app = make_app(
        settings,
        probes,
        name=NAME,
        title="Zentoria retrieval",
        version=__version__,
        lifecycle=lifecycle,
        lifespan=open_services,
        callers=callers,
        outages=OUTAGES,
    )
    app.state.services = services
    for module in (documents, search, messages):
        app.include_router(module.router)
    return app


def open_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """Make the application with its real dependencies."""
    services = make_services(settings, secrets)
    callers = Callers.read(settings.container_name, settings.callers_file)
    return create_app(settings, services, make_probes(settings, secrets, services), callers)
