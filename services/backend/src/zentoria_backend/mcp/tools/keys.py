"""API keys. A model sees them without their secrets: what is made, the user alone is shown, at the approval."""

from __future__ import annotations

import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field
from zentoria_common.problems import Problem

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.keys import service
from zentoria_backend.keys.schemas import Key, MadeKey, Name, NewKey, Scopes
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, under_approval
from zentoria_backend.paging import Page


async def keys_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[Key]:
    """List the user's API keys without their secrets, the newest first, revoked ones too."""
    here = call(ctx)
    return await service.list_keys(here.services, here.principal, limit, cursor)


async def keys_create(
    ctx: Ctx,
    name: Name,
    scopes: Scopes,
    expires_in_days: Annotated[int | None, Field(ge=1, le=3650, description="null: it does not expire")] = None,
    approval_id: ApprovalId = None,
) -> Outcome:
    """Make an API key. The user has to approve it first, and alone is shown the key then."""
    here = call(ctx)

    async def change() -> MadeKey:
        ends = None
        if expires_in_days is not None:
            ends = here.services.clock() + datetime.timedelta(days=expires_in_days)
        return await service.make_key(here.services, here.principal, NewKey(name=name, scopes=scopes, expires_at=ends))

    wanted = sorted(set(scopes))
    return await under_approval(
        here,
        "keys_create",
        {"name": name, "scopes": wanted, "expires_in_days": expires_in_days},
        approval_id,
        None,
        change,
        title=f"Make the API key {name}",
        effects=[Effect(what="API key", where=name, after={"scopes": wanted, "expires_in_days": expires_in_days})],
        secret=True,
    )


async def keys_rotate(ctx: Ctx, key_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Replace an API key by a new one with the same scopes; the old one stops working at once.

    The user has to approve it first, and alone is shown the new key then.
    """
    here = call(ctx)
    there = await service.get_key(here.services, here.principal, key_id)
    if there.state != "active":
        raise Problem(409, f"the key is {there.state}: make a new one", kind="key-not-active")

    async def change() -> MadeKey:
        wanted = NewKey(name=there.name, scopes=there.scopes, expires_at=there.expires_at)
        made = await service.make_key(here.services, here.principal, wanted)
        await service.revoke_key(here.services, here.principal, key_id)
        return made

    return await under_approval(
        here,
        "keys_rotate",
        {"key_id": str(key_id)},
        approval_id,
        there.state,
        change,
        title=f"Replace the API key {there.name}",
        effects=[Effect(what="API key", where=there.name, before={"prefix": there.prefix}, after="a new key")],
        secret=True,
    )


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
        title=f"Revoke the API key {there.name}",
        effects=[Effect(what="API key", where=there.name, before={"state": there.state}, after={"state": "revoked"})],
    )


OFFERS = (
    Offer("keys_create", "Make an API key", keys_create, kind="changes", secret=True),
    Offer("keys_list", "List API keys", keys_list),
    Offer("keys_revoke", "Revoke an API key", keys_revoke, kind="changes", effect="destroy"),
    Offer("keys_rotate", "Replace an API key", keys_rotate, kind="changes", secret=True),
)
