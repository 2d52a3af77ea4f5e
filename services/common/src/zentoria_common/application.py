"""An application with what each service of ours has: health, metrics, request ids, error shape, limits, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from zentoria_common import problems
from zentoria_common.health.model import HealthReport
from zentoria_common.health.probe import Probe
from zentoria_common.health.service import HealthService
from zentoria_common.lifecycle import Lifecycle
from zentoria_common.metrics import Metrics
from zentoria_common.middleware import BodyLimit, RequestContext
from zentoria_common.settings import CommonSettings


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
) -> FastAPI:
    """Make the application of a service; its own routes are added to it.

    ``GET <prefix>/health`` asks the dependencies (200 or 503), ``<prefix>/health/live`` nobody; ``GET /metrics`` is
    Prometheus's, where the settings have it on. ``app.state`` keeps ``settings``, ``metrics``, ``health`` and
    ``lifecycle``.

    Args:
        settings: the service's.
        probes: its dependencies. The application owns them from its startup on, and closes them when it stops.
        name: of its distribution, as ``zentoria-backend``.
        title: of its OpenAPI document.
        version: its version.
        prefix: of the paths of health and OpenAPI document, as ``/api/v1``.
        metrics: its own, where it has more than the common ones.
        lifecycle: for tests, which end it by hand.
    """
    counted = metrics or Metrics()
    service = HealthService(probes, name=name, version=version, timeout=settings.dependency_timeout, metrics=counted)

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
        title=title,
        version=version,
        lifespan=lifespan,
        openapi_url=f"{prefix}/openapi.json",
        docs_url=None,  # its page loads scripts from a public CDN
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.metrics = counted
    app.state.health = service
    app.state.lifecycle = lifecycle or Lifecycle()
    problems.install(app)
    # no routers with a prefix: metrics and logs name the template of the route, which is then whole
    app.get(f"{prefix}/health", responses={503: {"model": HealthReport}})(health)
    app.get(f"{prefix}/health/live")(live)
    if settings.metrics:
        app.get("/metrics", include_in_schema=False)(rendered)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
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
    """Metrics in Prometheus's text format."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)
