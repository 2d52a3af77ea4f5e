"""Which component is built by which role. Importing it imports no role: one is read when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Service
    from zentoria_infra.roles.kit.role import Role

PLACES: dict[str, str] = {
    "auth": "zentoria_infra.roles.auth:ROLE",
    "backend": "zentoria_infra.roles.backend:ROLE",
    "frontend": "zentoria_infra.roles.frontend:ROLE",
    "n8n": "zentoria_infra.roles.n8n:ROLE",
    "nginx": "zentoria_infra.roles.nginx:ROLE",
    "nginx-exporter": "zentoria_infra.roles.nginx:EXPORTER_ROLE",
    "node-exporter": "zentoria_infra.roles.node_exporter:ROLE",
    "ocr": "zentoria_infra.roles.ocr:ROLE",
    "ollama": "zentoria_infra.roles.ollama:ROLE",
    "orchestrator": "zentoria_infra.roles.orchestrator:ROLE",
    "pgbouncer": "zentoria_infra.roles.pgbouncer:ROLE",
    "postgres-exporter": "zentoria_infra.roles.postgresql:EXPORTER_ROLE",
    "postgresql": "zentoria_infra.roles.postgresql:ROLE",
    "qdrant": "zentoria_infra.roles.qdrant:ROLE",
    "rag": "zentoria_infra.roles.rag:ROLE",
    "redis": "zentoria_infra.roles.redis:ROLE",
    "redis-exporter": "zentoria_infra.roles.redis:EXPORTER_ROLE",
    "s3": "zentoria_infra.roles.s3:ROLE",
    "schema": "zentoria_infra.roles.schema:ROLE",
    "voice": "zentoria_infra.roles.voice:ROLE",
}
"""``module:name`` by component. A service whose component is not here is not installed."""


def is_built(component: str) -> bool:
    """Whether a component has a role."""
    return component in PLACES


def installs(service: Service) -> bool:
    """Whether a service is installed: its component has a role, and the inventory does not leave it out."""
    return service.installed and is_built(service.component)


def role(component: str) -> Role:
    """The role that builds a component. Raises KeyError: it has none."""
    module, _, name = PLACES[component].partition(":")
    found: Role = getattr(importlib.import_module(module), name)
    return found


def unbuilt(container: Container) -> tuple[str, ...]:
    """Names of the container's services that are not installed: they have no role, or the inventory says so."""
    return tuple(service.name for service in container.services if not installs(service))
