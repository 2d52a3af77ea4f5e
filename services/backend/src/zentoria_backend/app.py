"""The application: its routes, and what it asks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Mapping, Sequence

import sqlalchemy.exc
from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from zentoria_common import database, redis, s3
from zentoria_common.application import make_app
from zentoria_common.database import DatabaseProbe, SchemaProbe
from zentoria_common.health.probe import Probe
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.problems import ProblemResponse, problem
from zentoria_common.redis import RedisProbe
from zentoria_common.s3 import S3Probe
from zentoria_schema import head

from zentoria_backend import __version__, openapi, routes, uploads
from zentoria_backend.access.context import ClientContext
from zentoria_backend.audio import socket as audio_socket
from zentoria_backend.audio.api import TRANSCRIPTIONS
from zentoria_backend.events import socket
from zentoria_backend.idempotency.middleware import Idempotency
from zentoria_backend.jobs.sweep import sweeping
from zentoria_backend.limits.edge import AnswerHeaders
from zentoria_backend.mcp.endpoint import Endpoint
from zentoria_backend.metrics import BackendMetrics
from zentoria_backend.services import NAME, Services, make_services
from zentoria_backend.settings import Secrets, Settings, load_identity

OUTAGES: Mapping[type[Exception], str] = {**database.OUTAGES, **redis.OUTAGES, **s3.OUTAGES}
ASKED_HEADERS = (
    *("authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "if-range", "last-event-id"),
    *("mcp-method", "mcp-name", "mcp-protocol-version", "range", "x-api-key"),
)
TOLD_HEADERS = (
    *("accept-ranges", "content-disposition", "content-range", "etag", "location", "ratelimit", "ratelimit-policy"),
    *("repr-digest", "retry-after", "www-authenticate", "x-request-id"),
)
UPLOAD_HEADERS = (
    "tus-resumable",
    "upload-checksum",
    "upload-expires",
    "upload-length",
    "upload-metadata",
    "upload-offset",
)
"""Of requests, of answers, and of tus in both: what pages of the site's other origins may send and read."""


def make_probes(settings: Settings, secrets: Secrets, services: Services | None = None) -> tuple[Probe, ...]:
    """The real dependencies, over the connections that the service works with. Nothing connects before it is asked."""
    made = services or make_services(settings, secrets)
    return (
        DatabaseProbe(made.database.engine, secrets.database_password.get_secret_value()),
        _schema(made.database.engine, secrets),
        RedisProbe(made.redis, secrets.redis_password.get_secret_value()),
        S3Probe(made.files.bucket(settings.s3_bucket_uploads), secrets.s3_secret_key.get_secret_value()),
    )


def required(settings: Settings, secrets: Secrets) -> tuple[Probe, ...]:
    """What must be right before anything is served: the database's tables are those of this release."""
    engine = database.make_engine(settings, secrets.database_password, application=NAME, pooled=False)
    return (_schema(engine, secrets, closes=True),)


def _schema(engine: AsyncEngine, secrets: Secrets, *, closes: bool = False) -> SchemaProbe:
    trouble = functools.partial(head.trouble, "zentoria_core")
    return SchemaProbe(engine, trouble, secrets.database_password.get_secret_value(), closes=closes)


def create_app(
    settings: Settings, services: Services, probes: Sequence[Probe], lifecycle: Lifecycle | None = None
) -> FastAPI:
    """Make the application. It owns ``services`` and ``probes`` from its startup on, and closes them when it stops."""

    @contextlib.asynccontextmanager
    async def open_services(_app: FastAPI) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            await stack.enter_async_context(services.hub.run())
            await stack.enter_async_context(app.state.mcp.run())
            await stack.enter_async_context(services.jobs.run(services))
            await stack.enter_async_context(sweeping(services))
            await stack.enter_async_context(services.answers.run(settings.shutdown_timeout / 2))
            yield

    app = make_app(
        settings,
        probes,
        name=NAME,
        title="Zentoria MCP API gateway",
        version=__version__,
        prefix="/api/v1",
        metrics=BackendMetrics(),
        lifecycle=lifecycle,
        lifespan=open_services,
        files=(*uploads.ROUTES, TRANSCRIPTIONS),
        outages=OUTAGES,
    )
    app.state.services = services
    app.state.metrics.websocket_clients.set_function(lambda: services.stream_clients.count)
    app.state.mcp = Endpoint(services)
    app.add_exception_handler(sqlalchemy.exc.DataError, _data_error)
    # Behind the common ones, the outermost first: what these raise or answer has an id, and is logged and counted.
    inner = [
        Middleware(AnswerHeaders),
        Middleware(ClientContext),
        Middleware(Idempotency, uploads=(*uploads.ROUTES, TRANSCRIPTIONS)),
    ]
    if settings.cors_origins:
        inner.insert(0, cors(settings))
    app.user_middleware.extend(inner)
    app.include_router(socket.router)
    app.include_router(audio_socket.router)
    app.router.routes.append(Route("/mcp", _Mcp(), methods=["GET", "POST", "DELETE"]))
    routes.install(app)
    openapi.install(app)
    return app


def cors(settings: Settings) -> Middleware:
    """Leave for pages of other origins to read answers. Without cookies: credentials are headers that a page sets."""
    return Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=False,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[*ASKED_HEADERS, *UPLOAD_HEADERS],
        expose_headers=[*TOLD_HEADERS, *UPLOAD_HEADERS],
        max_age=600,
    )


class _Mcp:
    """Passes a request on to the application's endpoint, which a test may have put in the place of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await scope["app"].state.mcp(scope, receive, send)


async def _data_error(_request: Request, _error: Exception) -> ProblemResponse:
    """A value that PostgreSQL cannot keep (NUL in a text, a number too large) is the client's mistake."""
    return problem(422, "the request has a value that cannot be stored")


def open_app(settings: Settings, secrets: Secrets) -> FastAPI:
    """Make the application with its real dependencies."""
    services = make_services(settings, secrets, identity=load_identity(settings))
    return create_app(settings, services, make_probes(settings, secrets, services))
