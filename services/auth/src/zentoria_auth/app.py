"""The application: its routes, and what it asks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from zentoria_common import database, redis
from zentoria_common.application import make_app
from zentoria_common.database import DatabaseProbe, SchemaProbe
from zentoria_common.health.probe import Probe
from zentoria_common.identity import Callers
from zentoria_common.redis import RedisProbe
from zentoria_schema import head

from zentoria_auth import __version__, routes
from zentoria_auth.oauth import api as oauth_api
from zentoria_auth.oauth.setup import make_oauth
from zentoria_auth.pages.web import no_page
from zentoria_auth.providers.browsers import FEDERATION
from zentoria_auth.services import Services, make_services
from zentoria_auth.settings import Secrets, Settings


def probes_of(services: Services, secrets: Secrets) -> tuple[Probe, ...]:
    """The real dependencies. Nothing connects before it is asked."""
    return (
        DatabaseProbe(services.database.engine, secrets.database_password.get_secret_value()),
        _schema(services, secrets),
        RedisProbe(services.redis, secrets.redis_password.get_secret_value()),
    )


def make_probes(settings: Settings, secrets: Secrets) -> Sequence[Probe]:
    """What ``zentoria-auth check`` asks."""
    return probes_of(make_services(settings, secrets), secrets)


def required(settings: Settings, secrets: Secrets) -> Sequence[Probe]:
    """What must be right before anything is served: the database's tables are those of this release."""
    return (_schema(make_services(settings, secrets), secrets, closes=True),)


def _schema(services: Services, secrets: Secrets, *, closes: bool = False) -> SchemaProbe:
    trouble = functools.partial(head.trouble, "zentoria_core")
    password = secrets.database_password.get_secret_value()
    return SchemaProbe(services.database.engine, trouble, password, closes=closes)


def create_app(settings: Settings, secrets: Secrets, services: Services | None = None) -> FastAPI:
    """Make the application, with connections of its own; tests may pass theirs."""
    made = services or make_services(settings, secrets)
    oauth = make_oauth(made)
    app = make_app(
        settings,
        probes_of(made, secrets),
        name="zentoria-auth",
        title="Zentoria sign-in",
        version=__version__,
        lifespan=lambda _app: _running(made, oauth),
        callers=Callers.read(settings.container_name, settings.callers_file),
        public=routes.PUBLIC,
        outages={**database.OUTAGES, **redis.OUTAGES},
    )
    app.state.services = made
    app.add_exception_handler(HTTPException, no_page)
    oauth_api.install(app, oauth)
    app.state.federation = FEDERATION
    for router in routes.ROUTERS:
        app.include_router(router)
    return app


@contextlib.asynccontextmanager
async def _running(services: Services, oauth: oauth_api.OAuth) -> AsyncGenerator[None]:
    async with services.running():
        try:
            yield
        finally:
            await oauth.close()
