"""``/api/v1/mcp/command|workflow``: passed on to the containers that do it, which may not be there (yet)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.commands.schemas import Accepted, Command, WorkflowStart
from zentoria_backend.services import Services, ServicesDep

router = APIRouter(tags=["commands"])


@router.post("/api/v1/mcp/command", summary="Give a command to the assistant", responses=answers(404, 409, 502))
async def command(body: Command, principal: Caller, services: ServicesDep) -> Accepted:
    """503 `/problems/service-missing` names the container that is not there; it is asked again by itself."""
    return await _pass(services, principal, "ai", "/internal/v1/command", body.model_dump(mode="json"), None)


@router.post("/api/v1/mcp/workflow", summary="Start a workflow", responses=answers(404, 409, 502))
async def workflow(body: WorkflowStart, principal: Caller, services: ServicesDep) -> Accepted:
    """503 `/problems/service-missing` names the container that is not there; it is asked again by itself."""
    whole = body.model_dump(mode="json")
    return await _pass(services, principal, "n8n", "/internal/v1/workflow", whole, str(body.workflow_id))


async def _pass(
    services: Services, principal: Principal, container: str, path: str, body: dict[str, Any], workflow_id: str | None
) -> Accepted:
    answer = await services.callees.call(container, "POST", path, user=principal, json=body)
    made = parsed(Accepted, passed_on(answer, container), container)
    if workflow_id is not None:
        await services.audit.record(principal, "workflows.run", "workflow", workflow_id)
    return made
