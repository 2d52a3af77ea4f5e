"""Conversations with models."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.conversations import service
from zentoria_backend.conversations.schemas import Conversation, Hit, Message
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Cursor, Limit, Offer, Words
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


OFFERS = (
    Offer("conversations_list", "List conversations", conversations_list),
    Offer("conversations_messages", "Read a conversation", conversations_messages),
    Offer("conversations_search", "Search conversations", conversations_search),
)
