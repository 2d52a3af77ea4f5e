"""Approvals: a tool asks, a person decides, and what was approved runs once. Nothing else does."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import sqlalchemy
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem
from zentoria_schema.core import Approval as Row

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.approvals.schemas import Approval, Effect, State
from zentoria_backend.events import publish
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

LIFETIME = datetime.timedelta(minutes=15)
"""From the question to the act."""
MAX_PENDING = 50
"""Of one user: a model that asks without end is told to stop."""
MAX_ARGUMENTS = 64 * 1024
"""Bytes of the arguments as canonical JSON."""
_NOW = bindparam("now", type_=Row.expires_at.type)
_OPEN = (Row.state == bindparam("state", type_=sqlalchemy.Text()), Row.expires_at > _NOW)
_DONE = (Row.state == bindparam("state", type_=sqlalchemy.Text()),)
_LATE = (sqlalchemy.or_(Row.state == "pending", Row.state == "approved"), Row.expires_at <= _NOW)
_LISTS: Mapping[State | None, paging.Listing] = {
    None: paging.Listing(Row, Row.created_at),
    "pending": paging.Listing(Row, Row.created_at, *_OPEN),
    "approved": paging.Listing(Row, Row.created_at, *_OPEN),
    "denied": paging.Listing(Row, Row.created_at, *_DONE),
    "used": paging.Listing(Row, Row.created_at, *_DONE),
    "expired": paging.Listing(Row, Row.created_at, *_LATE),
}


def canonical(value: Any) -> bytes:
    """JSON with one way to write each value: sorted names, no blanks (after RFC 8785).

    Raises:
        Problem: 422, it is no JSON (NaN, a name that is no text).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):  # UnicodeEncodeError is a ValueError
        raise Problem(422, "the arguments are no JSON") from None


def digest_of(
    *,
    tool: str,
    arguments: Mapping[str, Any],
    target_revision: str | None,
    actor: str,
    user_id: int,
    expires_at: datetime.datetime,
) -> bytes:
    """What an approval is bound to."""
    whole = {
        "tool": tool,
        "arguments": dict(arguments),
        "target_revision": target_revision,
        "actor": actor,
        "user": user_id,
        "expires_at": expires_at.astimezone(datetime.UTC).isoformat(timespec="microseconds"),
    }
    return hashlib.sha256(canonical(whole)).digest()


async def propose(
    services: Services,
    principal: Principal,
    tool: str,
    arguments: Mapping[str, Any],
    target_revision: str | None,
    *,
    title: str = "",
    effects: Sequence[Effect] = (),
    carrier: Literal["client", "gateway"] = "client",
) -> Approval:
    """Ask for leave. The same question, asked again while it waits, is the same approval.

    Args:
        services: the application's.
        principal: who wants to do it.
        tool: its name in the permission table.
        arguments: all of them, as they will be used.
        target_revision: of what it changes; None where there is nothing yet.
        title: what it will do, for people.
        effects: what will be otherwise.
        carrier: who does it once it is approved.

    Raises:
        Problem: 409 for too many that wait, 422 for arguments that are no JSON or too long.
    """
    if len(canonical(dict(arguments))) > MAX_ARGUMENTS:
        raise Problem(422, f"the arguments are longer than {MAX_ARGUMENTS} bytes")
    now = services.clock()
    waiting = select(Row).where(Row.user_id == principal.user_id, Row.state == "pending", Row.expires_at > now)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.scalars(waiting)).all()
        for row in rows:
            same = _digest_for(principal, tool, arguments, target_revision, row.expires_at)
            if hmac.compare_digest(bytes(row.digest), same) and row.carrier == carrier:
                return _shown(row, now)
        if len(rows) >= MAX_PENDING:
            raise Problem(409, f"{MAX_PENDING} approvals wait for a decision already", kind="too-many-approvals")
        expires_at = now + LIFETIME
        row = Row(
            user_id=principal.user_id,
            digest=_digest_for(principal, tool, arguments, target_revision, expires_at),
            tool=tool,
            arguments=dict(arguments),
            target_revision=target_revision,
            actor=principal.actor,
            expires_at=expires_at,
            summary=title[:300],
            effects=[one.model_dump(mode="json") for one in effects],
            carrier=carrier,
            asker=_kept(principal),
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        await _note(services, principal, "approvals.request", row, session)
    return await _told(services, _shown(row, now), principal)


async def list_approvals(
    services: Services, principal: Principal, limit: int, cursor: str | None, state: State | None = None
) -> Page[Approval]:
    """The user's, the newest first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    now = services.clock()
    wanted = _LISTS[state]
    return await wanted.page(
        services.database, principal.user_id, limit, cursor, lambda row: _shown(row, now), state=state, now=now
    )


async def get_approval(services: Services, principal: Principal, approval_id: UUID) -> Approval:
    """One of the user's.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        return _shown(await _row(session, principal, approval_id), services.clock())


async def decide(
    services: Services, principal: Principal, approval_id: UUID, *, approve: bool, reason: str | None = None
) -> Approval:
    """Approve or deny. The same decision a second time changes nothing.

    Raises:
        Problem: 404; 409 ``/problems/approval-<state>`` where it was decided otherwise, used, or is too old.
    """
    now = services.clock()
    wanted = "approved" if approve else "denied"
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, approval_id, lock=True)
        shown = _shown(row, now)
        if shown.state == wanted:
            return shown
        if shown.state != "pending":
            raise _wrong_state(shown.state)
        row.state, row.decided_at, row.decided_by, row.reason = wanted, now, principal.user_id, reason
        await session.flush()
        await _note(services, principal, f"approvals.{'approve' if approve else 'deny'}", row, session)
    return await _told(services, _shown(row, now), principal)


async def use(
    services: Services,
    principal: Principal,
    approval_id: UUID,
    tool: str,
    arguments: Mapping[str, Any],
    target_revision: str | None,
) -> Approval:
    """Take the leave, once; then do it. Whoever fails afterwards has used it all the same, and asks again.

    Args:
        services: the application's.
        principal: who does it: with the same credential that asked.
        approval_id: which leave.
        tool: what is about to run.
        arguments: with which arguments.
        target_revision: of what it changes, as it is now.

    Raises:
        Problem: 404; 409 ``/problems/approval-mismatch`` where anything is other than what was approved, or
            ``/problems/approval-<state>`` where it is not approved (any more).
    """
    now, used = services.clock(), False
    async with services.database.session(principal.user_id) as session:
        row = await _row(session, principal, approval_id, lock=True)
        given = _digest_for(principal, tool, arguments, target_revision, row.expires_at)
        matches, shown = hmac.compare_digest(bytes(row.digest), given), _shown(row, now)
        if matches and shown.state == "approved":
            row.state, row.used_at = "used", now
            await session.flush()
            await _note(services, principal, "approvals.use", row, session)
            shown, used = _shown(row, now), True
    if used:
        return await _told(services, shown, principal)
    if not matches:
        details = {"tool": tool, "approved_tool": row.tool, "revision": target_revision}
        await services.audit.record(
            principal, "approvals.mismatch", "approval", str(approval_id), details=details, severity="warning"
        )
        raise Problem(
            409,
            "this is not what was approved: tool, arguments, target's revision or credential are others",
            kind="approval-mismatch",
        )
    raise _wrong_state(shown.state)


async def asker(services: Services, user_id: int, approval_id: UUID) -> Principal:
    """The credential that asked, as it was then: its scopes are what may be done with the approval.

    Raises:
        Problem: 404; 409, it is not good any more, or nobody kept it.
        Unavailable: the database does not answer.
    """
    async with services.database.session(user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == approval_id, Row.user_id == user_id))
    kept = row.asker if row is not None else {}
    if not kept:
        raise Problem(404, "there is no such approval")
    ends = kept.get("expires_at")
    principal = Principal(
        user_id=user_id,
        role=kept["role"],
        scopes=frozenset(kept["scopes"]),
        kind=kept["kind"],
        credential_id=kept["credential_id"],
        sid=kept.get("sid"),
        client_id=kept.get("client_id"),
        expires_at=ends,
    )
    key_id = principal.credential_id if principal.kind == "api_key" else None
    if not await services.access.holds(user_id, principal.sid, key_id):
        raise Problem(409, "the credential that asked is not good any more: ask again", kind="approval-expired")
    return principal


async def finish(services: Services, user_id: int, approval_id: UUID, result: Mapping[str, Any]) -> None:
    """Keep what came of it; no secrets."""
    changed = sqlalchemy.update(Row).where(Row.id == approval_id, Row.user_id == user_id, Row.state == "used")
    async with services.database.session(user_id) as session:
        await session.execute(changed.values(result=dict(result)))


def _kept(principal: Principal) -> dict[str, Any]:
    return {
        "role": principal.role,
        "scopes": sorted(principal.scopes),
        "kind": principal.kind,
        "credential_id": principal.credential_id,
        "sid": principal.sid,
        "client_id": principal.client_id,
        "expires_at": principal.expires_at,
    }


async def _row(session: AsyncSession, principal: Principal, approval_id: UUID, *, lock: bool = False) -> Row:
    query = select(Row).where(Row.id == approval_id, Row.user_id == principal.user_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem(404, "there is no such approval")
    return row


def _digest_for(
    principal: Principal,
    tool: str,
    arguments: Mapping[str, Any],
    target_revision: str | None,
    expires_at: datetime.datetime,
) -> bytes:
    return digest_of(
        tool=tool,
        arguments=arguments,
        target_revision=target_revision,
        actor=principal.actor,
        user_id=principal.user_id,
        expires_at=expires_at,
    )


async def _told(services: Services, approval: Approval, principal: Principal) -> Approval:
    """Tell the user's open pages; the transaction is committed by now."""
    news = {"id": str(approval.id), "state": approval.state, "tool": approval.tool}
    await publish(services.redis, principal.user_id, "approvals", news)
    return approval


def _wrong_state(state: State) -> Problem:
    texts = {
        "pending": "nobody has approved it yet",
        "denied": "it was denied",
        "used": "it was used: what is approved runs once",
        "expired": "it is too old: ask again",
        "approved": "it was approved already",
    }
    return Problem(409, texts[state], kind=f"approval-{state}")


async def _note(services: Services, principal: Principal, action: str, row: Row, session: AsyncSession) -> None:
    details = {"tool": row.tool, "actor": row.actor, "digest": bytes(row.digest).hex()}
    await services.audit.record(
        principal, action, "approval", str(row.id), details=details, severity="notice", session=session
    )


def _shown(row: Row, now: datetime.datetime) -> Approval:
    old = row.state in ("pending", "approved") and row.expires_at <= now
    return Approval(
        id=row.id,
        state="expired" if old else row.state,  # type: ignore[arg-type] # the database holds the same values
        tool=row.tool,
        arguments=row.arguments,
        target_revision=row.target_revision,
        actor=row.actor,
        digest=bytes(row.digest).hex(),
        created_at=row.created_at,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        used_at=row.used_at,
        reason=row.reason,
        title=row.summary,
        effects=[Effect.model_validate(one) for one in row.effects],
        carrier=row.carrier,  # type: ignore[arg-type] # likewise
        result=row.result,
    )
