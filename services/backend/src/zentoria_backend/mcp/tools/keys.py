"""API keys. A model sees them without their secrets, and makes none."""

from __future__ import annotations

from uuid import UUID

from zentoria_backend.keys import service
from zentoria_backend.keys.schemas import Key
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, under_approval
from zentoria_backend.paging import Page


async def keys_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Key]:
    """List the user's API keys without their secrets, the newest first, revoked ones too."""
    here = call(ctx)
    return await service.list_keys(here.services, here.principal, limit, cursor)


async def keys_revoke(ctx: Ctx, key_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Revoke an API key: whatever uses it stops working. The user has to approve it first."""
    here = call(ctx)
    there = await service.get_key(here.services, here.principal, key_id)
    return await under_approval(
        here,
        "keys_revoke",
        {"key_id": str(key_id)},
        approval_id,
        there.state,
        lambda: service.revoke_key(here.services, here.principal, key_id),
    )


OFFERS = (
    Offer("keys_list", "List API keys", keys_list),
    Offer("keys_revoke", "Revoke an API key", keys_revoke, kind="changes"),
)
