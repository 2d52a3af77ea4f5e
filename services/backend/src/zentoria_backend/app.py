"""The application: routes, middleware and what lives as long as the process does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI
from zentoria_common import problems
from zentoria_common.health.probe import Probe
from zentoria_common.health.service import HealthService
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.middleware import BodyLimit, RequestContext

from zentoria_backend import __version__
from zentoria_backend.api import health, stream
from zentoria_backend.health.probes import DatabaseProbe, RedisProbe, make_engine, make_redis
from zentoria_backend.metrics import BackendMetrics
from zentoria_backend.settings import Secrets, Settings


def make_probes(settings: Settings, secrets: Secrets) -> tuple[Probe, ...]:
    """The real dependencies. Nothing connects before it is asked."""
    return (
        DatabaseProbe(make_engine(settings, secrets), secrets.database_password.get_secret_value()),
        RedisProbe(make_redis(settings, secrets), secrets.redis_password.get_secret_value()),
    )


def create_app(settings: Settings, probes: Sequence[Probe], lifecycle: Lifecycle | None = None) -> FastAPI:
    """Make the application. It owns ``probes`` from its startup on, and closes them when it stops."""
    metrics = BackendMetrics()
    service = HealthService(
        probes, name="zentoria-backend", version=__version__, timeout=settings.dependency_timeout, metrics=metrics
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        watcher = asyncio.create_task(service.watch(settings.health_interval), name="health-watch")
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.wait({watcher})
            await service.close()

    app = FastAPI(
        title="Zentoria MCP API gateway",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from a public CDN
        redoc_url=None,
    )
    lifecycle = lifecycle or Lifecycle()
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.health = service
    app.state.lifecycle = lifecycle
    app.state.websocket_clients = stream.Clients()
    problems.install(app)
    app.include_router(health.router)
    app.include_router(stream.router)
    if settings.metrics:
        app.include_router(health.metrics_router)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContext, metrics=metrics, lifecycle=lifecycle)  # the last one added is the outermost
    return app
