"""The application: its routes, and what it asks."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from zentoria_common.application import make_app
from zentoria_common.health.probe import Probe
from zentoria_common.lifecycle import Lifecycle

from zentoria_backend import __version__
from zentoria_backend.api import stream
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
    app = make_app(
        settings,
        probes,
        name="zentoria-backend",
        title="Zentoria MCP API gateway",
        version=__version__,
        prefix="/api/v1",
        metrics=BackendMetrics(),
        lifecycle=lifecycle,
    )
    app.state.websocket_clients = stream.Clients()
    app.include_router(stream.router)
    return app
