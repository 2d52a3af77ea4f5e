"""Container 401: the API gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zentoria_infra.guest.state import File
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context, file
from zentoria_infra.roles.kit.python_service import python_service
from zentoria_infra.roles.kit.role import Call

CALLED = {
    "ai": ("orchestrator", "http"),
    "n8n": ("n8n", "http"),
    "ocr": ("ocr", "http"),
    "rag": ("rag", "http"),
    "voice": ("voice", "http"),
    "voice_stream": ("voice", "stream"),
}
"""Components of services that it passes requests to, and which port of theirs, by the name in its settings. What is not
installed yet is asked all the same: requests for it answer 503 until it is there."""
SYSTEM = "/etc/zentoria/backend/system.json"
"""What people are shown of the site: containers by zone, and who may reach whom. Nothing in it is secret."""


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    site = context.inventory.site
    auth = context.target(service, "auth", "http")
    postgresql = context.target(service, "postgresql", "postgres")
    variables: dict[str, object] = {
        "ZENTORIA_PUBLIC_URL": site.public_url,
        "ZENTORIA_AUTH_URL": f"http://{auth.host}:{auth.port}",
        "ZENTORIA_DATABASE_DIRECT_PORT": postgresql.port,
        "ZENTORIA_CORS_ORIGINS": json.dumps(site.cors_origins),
        "ZENTORIA_SYSTEM_FILE": SYSTEM,
    }
    for name, (component, port) in CALLED.items():
        called = clients.callee(context.inventory, service, component)
        if called is not None and port in {one.name for one in called[1].exposes}:
            found = context.target(service, component, port)
            variables[f"ZENTORIA_{name.upper()}_URL"] = f"http://{found.host}:{found.port}"
    return variables


def _system(context: Context, service: Service) -> tuple[File, ...]:
    inventory = context.inventory
    containers = [
        {
            "vmid": one.vmid,
            "name": one.name,
            "purpose": one.purpose,
            "zone": one.zone,
            "address": str(one.address),
            "services": [
                {
                    "name": each.name,
                    "component": each.component,
                    "ports": [port.port.first for port in each.exposes],
                }
                for each in one.services
            ],
        }
        for one in inventory.containers
    ]
    flows = [
        {"from": one.source, "to": one.destination, "port": one.first, "purpose": one.purpose}
        for one in expand_flows(inventory)
    ]
    whole = {"name": inventory.site.name, "containers": containers, "flows": flows}
    return (file(SYSTEM, f"{json.dumps(whole, indent=1)}\n"),)


ROLE = python_service(
    "backend",
    title="API gateway",
    sockets={"http": "http", "websocket": "ws"},
    uses=("database", "redis", "s3"),
    variables=_variables,
    calls=(Call("auth", "http"),),
    files=_system,
    identity=True,
    health="/api/v1/health",
)
