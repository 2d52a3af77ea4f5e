"""``/api/v1/mcp/command|workflow``: commands to the assistant, and workflows."""

from __future__ import annotations

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.callees.service import parsed, passed_on
from zentoria_backend.commands import planning
from zentoria_backend.commands.schemas import Accepted, Command, CommandAnswer, WorkflowStart
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["commands"])


@router.post("/api/v1/mcp/command", summary="Give a command to the assistant", responses=answers(404, 409, 502))
async def command(body: Command, principal: Caller, services: ServicesDep) -> CommandAnswer:
    """Say what is to be done. What reads is done at once; what changes something waits for your approval.

    503 `/problems/service-missing` names the container that is not there; it is asked again by itself.
    """
    return await planning.command(services, principal, body.text, body.attachments)


@router.post("/api/v1/mcp/workflow", summary="Start a workflow", responses=answers(404, 409, 502))
async def workflow(body: WorkflowStart, principal: Caller, services: ServicesDep) -> Accepted:
    """503 `/problems/service-missing` names the container that is not there; it is asked again by itself."""
    answer = await services.callees.call(
        "n8n", "POST", "/internal/v1/workflow", user=principal, json=body.model_dump(mode="json")
    )
    made = parsed(Accepted, passed_on(answer, "n8n"), "n8n")
    await services.audit.record(principal, "workflows.run", "workflow", str(body.workflow_id))
    return made
