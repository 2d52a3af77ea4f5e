"""The route of search."""

from __future__ import annotations

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_rag.search.schemas import SearchAnswer, SearchRequest
from zentoria_rag.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/search", responses=answers(403))
async def search(request: SearchRequest, services: ServicesDep, owner: OwnerDep) -> SearchAnswer:
    """The passages that answer a question best, and whether they do."""
    return await services.search.answer(owner, request)
