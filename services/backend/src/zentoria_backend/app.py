"""The application: its routes, and what it asks."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from zentoria_common.application import make_app
from zentoria_common.database import DatabaseProbe, make_engine
from zentoria_common.health.probe import Probe
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.redis import RedisProbe, make_redis

from zentoria_backend import __version__
from zentoria_backend.api import stream
from zentoria_backend.metrics import BackendMetrics
from zentoria_backend.settings import Secrets, Settings

NAME = "zentoria-backend"


def make_probes(settings: Settings, secrets: Secrets) -> tuple[Probe, ...]:
    """The real dependencies. Nothing connects before it is asked."""
    return (
        DatabaseProbe(
            make_engine(settings, secrets.database_password, application=NAME),
            secrets.database_password.get_secret_value(),
        ),
        RedisProbe(make_redis(settings, secrets.redis_password), secrets.redis_password.get_secret_value()),
    )


def create_app(settings: Settings, probes: Sequence[Probe], lifecycle: Lifecycle | None = None) -> FastAPI:
    """Make the application. It owns ``probes`` from its startup on, and closes them when it stops."""
    app = make_app(
        settings,
        probes,
        name=NAME,
        title="Zentoria MCP API gateway",
        version=__version__,
        prefix="/api/v1",
        metrics=BackendMetrics(),
        lifecycle=lifecycle,
    )
    app.state.websocket_clients = stream.Clients()
    app.include_router(stream.router)
    return app


def open_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """Make the application with its real dependencies."""
    return create_app(settings, make_probes(settings, secrets))
