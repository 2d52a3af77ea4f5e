"""Container 401: the API gateway."""

from __future__ import annotations

from zentoria_infra.roles.kit.python_service import python_service

ROLE = python_service(
    "backend",
    title="API gateway",
    sockets={"http": "http", "websocket": "ws"},
    uses=("database", "redis", "s3"),
    health="/api/v1/health",
)
