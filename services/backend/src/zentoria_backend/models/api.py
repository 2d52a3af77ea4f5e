"""``/api/v1/models``."""

from __future__ import annotations

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.models import service
from zentoria_backend.models.schemas import Models
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["models"])


@router.get("/api/v1/models", summary="List models", responses=answers(502))
async def list_models(principal: Caller, services: ServicesDep) -> Models:
    """The models that may answer, and how far each that is being fetched is."""
    return await service.list_models(services, principal)
