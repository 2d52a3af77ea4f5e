"""``POST /v1/plan``."""

from __future__ import annotations

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_ai.plans.schemas import Plan, Request
from zentoria_ai.services import ServicesDep, User

router = APIRouter(tags=["plans"])


@router.post("/v1/plan", summary="Say which calls a request means", responses=answers(403))
async def plan(body: Request, _user: User, services: ServicesDep) -> Plan:
    """Nothing is carried out here: the gateway judges the calls, asks the user, and does what was approved."""
    return await services.planner.plan(body)
