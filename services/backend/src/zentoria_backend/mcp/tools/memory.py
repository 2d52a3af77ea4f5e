"""What answers may go by about the user."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, under_approval
from zentoria_backend.memory import service
from zentoria_backend.memory.schemas import Memory, NewMemory, Text
from zentoria_backend.paging import Page


async def memory_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Memory]:
    """List what is remembered of the user, the newest first."""
    here = call(ctx)
    return await service.list_memories(here.services, here.principal, limit, cursor)


async def memory_add(ctx: Ctx, text: Text, approval_id: ApprovalId = None) -> Outcome:
    """Have something remembered of the user, which every answer may go by. The user has to approve it first."""
    here = call(ctx)
    return await under_approval(
        here,
        "memory_add",
        {"text": text},
        approval_id,
        None,
        lambda: service.add(here.services, here.principal, NewMemory(text=text)),
        title="Remember something",
        effects=[Effect(what="memory", where="every answer", after=text)],
    )


async def memory_delete(ctx: Ctx, memory_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Forget one thing about the user. The user has to approve it first."""
    here = call(ctx)
    there = await service.get_memory(here.services, here.principal, memory_id)
    return await under_approval(
        here,
        "memory_delete",
        {"memory_id": str(memory_id)},
        approval_id,
        None,
        lambda: service.remove(here.services, here.principal, memory_id),
        title="Forget something",
        effects=[Effect(what="memory", where="every answer", before=there.text, after="deleted for good")],
    )


OFFERS = (
    Offer("memory_add", "Remember something", memory_add, kind="changes"),
    Offer("memory_delete", "Forget something", memory_delete, kind="changes", effect="destroy"),
    Offer("memory_list", "List memories", memory_list),
)
