"""Work that goes on after the answer."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.jobs import service
from zentoria_backend.jobs.schemas import Job
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Cursor, Limit, Offer
from zentoria_backend.paging import Page


async def jobs_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Job]:
    """List the user's jobs, the newest first."""
    here = call(ctx)
    return await service.list_jobs(here.services, here.principal, limit, cursor)


async def jobs_get(ctx: Ctx, job_id: UUID) -> Job:
    """Say how a job goes on, and what came out of it."""
    here = call(ctx)
    return await service.get_job(here.services, here.principal, job_id)


OFFERS = (Offer("jobs_get", "Look at a job", jobs_get), Offer("jobs_list", "List jobs", jobs_list))
