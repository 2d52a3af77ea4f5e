"""Container 401: the API gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.python_service import python_service
from zentoria_infra.roles.kit.role import Call

CALLED = {"ai": "orchestrator", "n8n": "n8n"}
"""Components of services that it passes requests to, by the name in its settings. What is not installed yet is asked
all the same: requests for it answer 503 until it is there."""


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    site = context.inventory.site
    auth = context.target(service, "auth", "http")
    postgresql = context.target(service, "postgresql", "postgres")
    variables: dict[str, object] = {
        "ZENTORIA_PUBLIC_URL": site.public_url,
        "ZENTORIA_AUTH_URL": f"http://{auth.host}:{auth.port}",
        "ZENTORIA_DATABASE_DIRECT_PORT": postgresql.port,
        "ZENTORIA_CORS_ORIGINS": json.dumps(site.cors_origins),
    }
    for name, component in CALLED.items():
        if clients.callee(context.inventory, service, component) is not None:
            found = context.target(service, component, "http")
            variables[f"ZENTORIA_{name.upper()}_URL"] = f"http://{found.host}:{found.port}"
    return variables


ROLE = python_service(
    "backend",
    title="API gateway",
    sockets={"http": "http", "websocket": "ws"},
    uses=("database", "redis", "s3"),
    variables=_variables,
    calls=(Call("auth", "http"),),
    identity=True,
    health="/api/v1/health",
)
