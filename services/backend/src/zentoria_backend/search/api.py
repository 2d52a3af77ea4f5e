"""``/api/v1/search``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from zentoria_backend.access.gate import Caller
from zentoria_backend.search import service
from zentoria_backend.search.schemas import Found
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["search"])


@router.get("/api/v1/search", summary="Search")
async def search(
    principal: Caller,
    services: ServicesDep,
    q: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=["thaw of the fjords"])],
    limit: Annotated[int, Query(ge=1, le=50, description="how many of each at most")] = 10,
    project: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None,
) -> Found:
    """Your files by their names, your documents and conversations by their words and by what they mean."""
    return await service.search(services, principal, q, limit, project=project)
