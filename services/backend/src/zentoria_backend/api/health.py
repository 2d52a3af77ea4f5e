"""``/api/v1/health``, ``/api/v1/health/live`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from zentoria_common.health.model import HealthReport
from zentoria_common.health.service import HealthService
from zentoria_common.metrics import Metrics

router = APIRouter()
metrics_router = APIRouter()


@router.get("/api/v1/health", responses={503: {"model": HealthReport}})
async def health(request: Request, response: Response) -> HealthReport:
    """Ask PostgreSQL and Redis, and say what each answered: 200 when all is well, else 503."""
    service: HealthService = request.app.state.health
    report = await service.check()
    response.status_code = 200 if report.status == "ok" else 503
    response.headers["cache-control"] = "no-store"
    return report


@router.get("/api/v1/health/live")
async def live(response: Response) -> dict[str, str]:
    """Say that the process answers; asks nothing of anybody."""
    response.headers["cache-control"] = "no-store"
    return {"status": "ok"}


@metrics_router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus's text format."""
    rendered: Metrics = request.app.state.metrics
    return Response(rendered.render(), media_type=CONTENT_TYPE_LATEST)
