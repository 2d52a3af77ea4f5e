"""``/api/v1/jobs``."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.jobs import service
from zentoria_backend.jobs.schemas import Job
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["jobs"])


@router.get("/api/v1/jobs", summary="List jobs")
async def list_jobs(
    principal: Caller, services: ServicesDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[Job]:
    """Your jobs, the newest first."""
    return await service.list_jobs(services, principal, limit, cursor)


@router.get("/api/v1/jobs/{job_id}", summary="One job", responses=answers(404))
async def get_job(job_id: UUID, principal: Caller, services: ServicesDep) -> Job:
    """How far one of your jobs is, and what came of it."""
    return await service.get_job(services, principal, job_id)
