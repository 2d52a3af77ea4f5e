"""Conversations with models."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.conversations import service
from zentoria_backend.conversations.schemas import Conversation, Hit, Message
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, Words, under_approval
from zentoria_backend.paging import Page


async def conversations_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Conversation]:
    """List the user's conversations, what changed last first."""
    here = call(ctx)
    return await service.list_conversations(here.services, here.principal, limit, cursor)


async def conversations_messages(
    ctx: Ctx, conversation_id: UUID, limit: Limit = 20, cursor: Cursor = None
) -> Page[Message]:
    """Read what was said in a conversation, in order."""
    here = call(ctx)
    return await service.list_messages(here.services, here.principal, conversation_id, limit, cursor)


async def conversations_search(ctx: Ctx, words: Words, limit: Limit = 20, cursor: Cursor = None) -> Page[Hit]:
    """Search what was said in the user's conversations, the newest first."""
    here = call(ctx)
    return await service.search(here.services, here.principal, words, limit, cursor)


async def conversations_delete(ctx: Ctx, conversation_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Delete a conversation and all its messages for good. The user has to approve it first."""
    here = call(ctx)
    there = await service.get_conversation(here.services, here.principal, conversation_id)
    return await under_approval(
        here,
        "conversations_delete",
        {"conversation_id": str(conversation_id)},
        approval_id,
        str(there.revision),
        lambda: service.delete_conversation(here.services, here.principal, conversation_id),
        title=f"Delete the conversation {there.title or conversation_id}",
        effects=[Effect(what="conversation", where=there.title or str(conversation_id), after="deleted for good")],
    )


OFFERS = (
    Offer("conversations_delete", "Delete a conversation", conversations_delete, kind="changes", effect="destroy"),
    Offer("conversations_list", "List conversations", conversations_list),
    Offer("conversations_messages", "Read a conversation", conversations_messages),
    Offer("conversations_search", "Search conversations", conversations_search),
)
