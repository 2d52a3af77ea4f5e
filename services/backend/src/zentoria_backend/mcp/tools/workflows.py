"""Workflows, and the assistant: each in a container of its own, which may not be there (yet)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.commands import api as commands
from zentoria_backend.commands import planning
from zentoria_backend.commands.schemas import CommandAnswer, WorkflowStart
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, under_approval
from zentoria_backend.paging import Page
from zentoria_backend.workflows import service
from zentoria_backend.workflows.schemas import Workflow


async def chat_send(
    ctx: Ctx,
    text: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")],
) -> CommandAnswer:
    """Have Zentoria's own assistant do something. What would change something waits for the user's approval."""
    here = call(ctx)
    return await planning.command(here.services, here.principal, text, [])


async def workflows_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Workflow]:
    """List the user's workflows, by name, with what each takes as its input."""
    here = call(ctx)
    return await service.list_workflows(here.services, here.principal, limit, cursor)


async def workflows_run(
    ctx: Ctx, workflow_id: UUID, input: dict[str, Any] | None = None, approval_id: ApprovalId = None
) -> Outcome:
    """Start a workflow. The user has to approve it first, with exactly this input."""
    here = call(ctx)
    there = await service.get_workflow(here.services, here.principal, workflow_id)
    start = WorkflowStart(workflow_id=workflow_id, input=input or {})
    return await under_approval(
        here,
        "workflows_run",
        start.model_dump(mode="json"),
        approval_id,
        str(there.revision),
        lambda: commands.workflow(start, here.principal, here.services),
        title=f"Start the workflow {there.name}",
        effects=[Effect(what="workflow", where=there.name, after={"input": start.input})],
    )


OFFERS = (
    Offer("chat_send", "Ask the assistant", chat_send, kind="says", planned=False),
    Offer("workflows_list", "List workflows", workflows_list),
    Offer("workflows_run", "Start a workflow", workflows_run, kind="changes", effect="send"),
)
