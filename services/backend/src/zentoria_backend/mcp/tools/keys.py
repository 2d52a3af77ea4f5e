"""API keys. A model sees them without their secrets, and makes none."""

from __future__ import annotations

from zentoria_backend.keys import service
from zentoria_backend.keys.schemas import Key
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Cursor, Limit, Offer
from zentoria_backend.paging import Page


async def keys_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Key]:
    """List the user's API keys without their secrets, the newest first, revoked ones too."""
    here = call(ctx)
    return await service.list_keys(here.services, here.principal, limit, cursor)


OFFERS = (Offer("keys_list", "List API keys", keys_list),)
