"""The endpoints, by what they are about."""

from __future__ import annotations

from zentoria_infra.lab.api.endpoints import access, version
from zentoria_infra.lab.api.routing import Route

ALL: list[Route] = [route for module in (version, access) for route in module.routes.routes]
"""Every endpoint that is served."""
