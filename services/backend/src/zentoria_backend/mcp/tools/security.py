"""Who did what, who is signed in where, and who may reach whom."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field
from zentoria_common.problems import Problem

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.audit import service as audit
from zentoria_backend.audit.filters import Filters
from zentoria_backend.audit.schemas import Entry
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, under_approval
from zentoria_backend.paging import Page
from zentoria_backend.sessions import service as sessions
from zentoria_backend.sessions.schemas import SessionShown
from zentoria_backend.system import service as system
from zentoria_backend.system.schemas import Flow

ActionName = Annotated[
    str | None, Field(max_length=100, pattern=r"^[^\x00]+$", description="as keys.create, or keys.* for all of them")
]


class Flows(BaseModel):
    """Which containers may reach which."""

    flows: list[Flow]


async def audit_search(
    ctx: Ctx,
    action: ActionName = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[Entry]:
    """Search who did what in Zentoria, the newest first."""
    here = call(ctx)
    filters = Filters(action=action, since=since, until=until)
    return await audit.search(here.services, here.principal, filters, limit, cursor)


async def firewall_list(
    ctx: Ctx, container: Annotated[str | None, Field(max_length=50, pattern=r"^[^\x00]*$")] = None
) -> Flows:
    """List which container may reach which, on which port and for what; of one container, where it is named."""
    flows = system.rendered(call(ctx).services.settings.system_file).flows
    return Flows(flows=[one for one in flows if container is None or container in (one.source, one.target)])


async def sessions_list(ctx: Ctx) -> Page[SessionShown]:
    """List where the user is signed in."""
    here = call(ctx)
    return await sessions.list_sessions(here.services, here.principal)


async def sessions_revoke(ctx: Ctx, session_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Sign the user out somewhere. The user has to approve it first."""
    here = call(ctx)
    every = (await sessions.list_sessions(here.services, here.principal)).items
    there = next((one for one in every if one.id == session_id), None)
    if there is None:
        raise Problem(404, "there is no such session")
    where = there.name or there.user_agent or str(session_id)
    return await under_approval(
        here,
        "sessions_revoke",
        {"session_id": str(session_id)},
        approval_id,
        None,
        lambda: sessions.end_session(here.services, here.principal, session_id),
        title=f"Sign out of {where}",
        effects=[Effect(what="session", where=where, before="signed in", after="signed out")],
    )


OFFERS = (
    Offer("audit_search", "Search the audit trail", audit_search),
    Offer("firewall_list", "List flows", firewall_list),
    Offer("sessions_list", "List sessions", sessions_list),
    Offer("sessions_revoke", "End a session", sessions_revoke, kind="changes", effect="destroy"),
)
