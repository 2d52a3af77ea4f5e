"""Which path at the proxy belongs to which service. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from zentoria_infra.inventory.model import Inventory

Limit = Literal["api", "auth", "pages"]
"""Which request limit counts."""


@dataclasses.dataclass(frozen=True)
class Route:
    """One ``location``.

    Args:
        match: as NGINX writes it: ``= /ws``, ``^~ /n8n/``, ``/``.
        service: ``container.service`` of the inventory.
        port: name of its port.
        limit: which request limit counts.
        json: errors that the proxy itself answers are JSON (RFC 9457), else a page.
        stream: what the service sends goes to the client at once; it may be silent for long.
        upgrade: WebSocket.
        strip: the service does not see the prefix.
        private: only for clients with a private address. What has no sign-in of ours in front is never public.
    """

    match: str
    service: str
    port: str = "http"
    limit: Limit = "pages"
    json: bool = False
    stream: bool = False
    upgrade: bool = False
    strip: bool = False
    private: bool = False

    @property
    def upstream(self) -> str:
        """Name of the group of servers, as ``backend_api_http``."""
        return f"{self.service}_{self.port}".replace(".", "_").replace("-", "_")


ROUTES = (
    Route("^~ /api/v1/auth/", "backend.api", limit="auth", json=True),
    Route("~ ^/api/(?:.+/)?(?:stream|events)(?:/|$)", "backend.api", limit="api", json=True, stream=True),
    Route("/api/", "backend.api", limit="api", json=True),
    Route("= /mcp", "backend.api", limit="api", json=True, stream=True),
    Route("^~ /mcp/", "backend.api", limit="api", json=True, stream=True),
    Route("= /ws", "backend.api", port="websocket", limit="api", json=True, stream=True, upgrade=True),
    Route("^~ /ws/", "backend.api", port="websocket", limit="api", json=True, stream=True, upgrade=True),
    # n8n runs with N8N_PATH=/n8n/: it makes its links with the prefix and is asked without it.
    Route("^~ /n8n/", "n8n.main", stream=True, upgrade=True, strip=True, private=True),
    # Prometheus (web.external-url) and Grafana (serve_from_sub_path) are asked with the prefix.
    Route("^~ /monitoring/prometheus/", "logs.prometheus", private=True),
    Route("^~ /monitoring/", "logs.grafana", upgrade=True, private=True),
    Route("^~ /docs/", "docs.site", strip=True),
    Route("^~ /oauth/", "auth.api", limit="auth"),
    Route("/", "frontend.web"),
)

SLASHES = ("/n8n", "/monitoring", "/monitoring/prometheus", "/docs")
"""Paths that a user may type without the slash at the end."""

CLOSED = ("^~ /n8n/webhook", "^~ /n8n/form")
"""n8n's own entrances for strangers. Calls come through the backend, which checks their signature and time."""


def routes(needed: Collection[str]) -> tuple[Route, ...]:
    """The routes to services that the proxy's service says it needs."""
    return tuple(route for route in ROUTES if route.service in needed)


def upstreams(inventory: Inventory, chosen: Collection[Route]) -> dict[str, str]:
    """``address:port`` by name of the group of servers, sorted.

    Raises:
        KeyError: the inventory has no such container, service or port.
    """
    found: dict[str, str] = {}
    for route in chosen:
        container, _, service = route.service.partition(".")
        target = inventory.by_name(container)
        found[route.upstream] = f"{target.address}:{target.service(service).port(route.port).first}"
    return dict(sorted(found.items()))
