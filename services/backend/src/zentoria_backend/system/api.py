"""``/api/v1/system``."""

from __future__ import annotations

from fastapi import APIRouter, Request

from zentoria_backend.access.gate import Caller
from zentoria_backend.services import ServicesDep
from zentoria_backend.system import service
from zentoria_backend.system.schemas import System

router = APIRouter(tags=["system"])


@router.get("/api/v1/system", summary="The site")
async def system(_principal: Caller, services: ServicesDep, request: Request) -> System:
    """Containers by their zones, which of them answer, and who may reach whom."""
    return await service.system(services, request.app.state.health)
