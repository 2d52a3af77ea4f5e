"""``/api/v1/approvals``: what waits for the caller's decision. Tools ask and act by :mod:`.service`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.approvals import service
from zentoria_backend.approvals.schemas import Approval, Denial, State
from zentoria_backend.commands import carrying
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["approvals"])


@router.get("/api/v1/approvals", summary="List approvals")
async def list_approvals(
    principal: Caller,
    services: ServicesDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    state: Annotated[State | None, Query(description="only those", examples=["pending"])] = None,
) -> Page[Approval]:
    """What was asked of you, the newest first."""
    return await service.list_approvals(services, principal, limit, cursor, state)


@router.get("/api/v1/approvals/{approval_id}", summary="One approval", responses=answers(404))
async def get_approval(approval_id: UUID, principal: Caller, services: ServicesDep) -> Approval:
    """One of yours."""
    return await service.get_approval(services, principal, approval_id)


@router.post("/api/v1/approvals/{approval_id}/approve", summary="Approve", responses=answers(404, 409))
async def approve(approval_id: UUID, principal: Caller, services: ServicesDep) -> Approval:
    """Let it be done, once, exactly as it is shown. From a web session only.

    What the gateway carries out itself (``carrier``) is done when this answers; ``result`` says what came of it.
    """
    decided = await service.decide(services, principal, approval_id, approve=True)
    return await carrying.carry_out(services, principal, decided)


@router.post("/api/v1/approvals/{approval_id}/deny", summary="Deny", responses=answers(404, 409))
async def deny(approval_id: UUID, principal: Caller, services: ServicesDep, body: Denial | None = None) -> Approval:
    """Do not let it be done. From a web session only."""
    return await service.decide(
        services, principal, approval_id, approve=False, reason=body.reason if body is not None else None
    )
