"""Models, as the orchestrator knows them."""

from __future__ import annotations

from typing import Any

from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.models.schemas import Models
from zentoria_backend.services import Services


async def list_models(services: Services, principal: Principal) -> Models:
    """The models that may answer.

    Raises:
        Problem: 503, the orchestrator is away.
    """
    told: Any = passed_on(await services.callees.call("ai", "GET", "/v1/models", user=principal), "ai")
    listed = next((told[name] for name in ("items", "data", "models") if isinstance(told, dict) and name in told), told)
    return parsed(Models, {"items": listed}, "ai")
