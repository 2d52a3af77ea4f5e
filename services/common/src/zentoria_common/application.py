"""An application with what each service of ours has: health, metrics, request ids, error shape, limits, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from zentoria_common import problems, siblings, telemetry
from zentoria_common.health.model import HealthReport
from zentoria_common.health.probe import Probe
from zentoria_common.health.service import HealthService
from zentoria_common.identity import CallerAuth, Callers
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.metrics import Metrics, merged
from zentoria_common.middleware import BodyLimit, RequestContext
from zentoria_common.settings import CommonSettings
from zentoria_common.tasks import ended

METRICS = "metrics"
"""What workers ask each other for."""


def make_app(
    settings: CommonSettings,
    probes: Sequence[Probe],
    *,
    name: str,
    title: str,
    version: str,
    prefix: str = "",
    metrics: Metrics | None = None,
    lifecycle: Lifecycle | None = None,
    lifespan: Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]] | None = None,
    callers: Callers | None = None,
    public: Collection[str] = (),
    files: Collection[str] = (),
    outages: Mapping[type[Exception], str] | None = None,
) -> FastAPI:
    """Make the application of a service; its own routes are added to it.

    ``GET <prefix>/health`` asks the dependencies (200 or 503), ``<prefix>/health/live`` nobody; ``GET /metrics`` is
    Prometheus's, where the settings have it on. ``app.state`` keeps ``settings``, ``metrics``, ``health``,
    ``lifecycle`` and ``siblings``.

    Args:
        settings: the service's.
        probes: its dependencies. The application owns them from its startup on, and closes them when it stops.
        name: of its distribution, as ``zentoria-backend``.
        title: of its OpenAPI document.
        version: its version.
        prefix: of the paths of health and OpenAPI document, as ``/api/v1``.
        metrics: its own, where it has more than the common ones.
        lifecycle: for tests, which end it by hand.
        lifespan: what else is open while the application runs; it ends before the probes are closed.
        callers: containers that may call; without it, whoever reaches the service may.
        public: paths that answer everybody all the same, beside health, metrics and the OpenAPI document; with ``/`` at
            its end, all that begin so.
        files: beginnings of paths of routes that take bodies of up to ``max_body_bytes``; all others take no more than
            ``max_json_bytes``.
        outages: exceptions that mean "it does not answer", and of which dependency; they become 503.
    """
    counted = metrics or Metrics()
    others = siblings.current()

    async def told() -> bytes:
        return counted.render()

    others.on(METRICS, told)
    service = HealthService(probes, name=name, version=version, timeout=settings.dependency_timeout, metrics=counted)

    @contextlib.asynccontextmanager
    async def whole(app: FastAPI) -> AsyncGenerator[None]:
        watcher = asyncio.create_task(service.watch(settings.health_interval), name="health-watch")
        try:
            async with others.run(), lifespan(app) if lifespan else contextlib.nullcontext():
                yield
        finally:
            await ended(watcher)
            await service.close()

    app = FastAPI(
        title=title,
        version=version,
        lifespan=whole,
        openapi_url=f"{prefix}/openapi.json",
        docs_url=None,  # its page loads scripts from a public CDN
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.metrics = counted
    app.state.health = service
    app.state.lifecycle = lifecycle or Lifecycle()
    app.state.siblings = others
    problems.install(app, outages=outages, always=() if callers is None else (401,))
    # no routers with a prefix: metrics and logs name the template of the route, which is then whole
    app.get(f"{prefix}/health", responses={503: {"model": HealthReport}})(health)
    app.get(f"{prefix}/health/live")(live)
    if settings.metrics:
        app.get("/metrics", include_in_schema=False)(rendered)
    small = min(settings.max_json_bytes, settings.max_body_bytes)
    app.add_middleware(BodyLimit, max_bytes=small, larger=dict.fromkeys(files, settings.max_body_bytes))
    if callers is not None:
        everybodys = {f"{prefix}/health", f"{prefix}/health/live", f"{prefix}/openapi.json", "/metrics", *public}
        app.add_middleware(CallerAuth, callers=callers, public=everybodys)
    telemetry.install(app, settings, name=name, version=version)
    # the last one added is the outermost
    app.add_middleware(RequestContext, metrics=counted, lifecycle=app.state.lifecycle)
    return app


async def health(request: Request, response: Response) -> HealthReport:
    """Ask the dependencies, and say what each answered: 200 when all is well, else 503."""
    service: HealthService = request.app.state.health
    report = await service.check()
    response.status_code = 200 if report.status == "ok" else 503
    response.headers["cache-control"] = "no-store"
    return report


async def live(response: Response) -> dict[str, str]:
    """Say that the process answers; asks nothing of anybody."""
    response.headers["cache-control"] = "no-store"
    return {"status": "ok"}


async def rendered(request: Request) -> Response:
    """Metrics in Prometheus's text format; where there are several workers, of all of them, each with its label."""
    own: bytes = request.app.state.metrics.render()
    others: siblings.Siblings = request.app.state.siblings
    if others.count > 1:
        own = merged({others.index: own, **await others.ask(METRICS)})
    return Response(own, media_type=CONTENT_TYPE_LATEST)
