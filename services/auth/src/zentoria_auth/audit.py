"""Rows of the audit log. Only the database's own function writes them, in the transaction of what they tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from zentoria_auth.peer import Peer

Severity = Literal["info", "notice", "warning", "critical"]

_APPEND = sqlalchemy.text(
    "SELECT append_audit(CAST(:user_id AS bigint), CAST(:action AS text), CAST(:kind AS text), CAST(:id AS text),"
    " CAST(:ip AS inet), CAST(:agent AS text), CAST(:details AS jsonb), CAST(:severity AS text), CAST(:actor AS text),"
    " CAST(:request_id AS text))"
)


async def record(
    session: AsyncSession,
    action: str,
    *,
    user_id: int | None,
    peer: Peer,
    resource: tuple[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
    severity: Severity = "info",
    actor: str = "anonymous",
) -> None:
    """Append one row; it is there when the transaction is.

    Args:
        session: the transaction.
        action: as ``auth.login``.
        user_id: whom it is about.
        peer: the client.
        resource: kind and id of what it was done to.
        details: more, as JSON; never what somebody typed into a form.
        severity: how much it matters.
        actor: who did it: ``session:<sid>``, ``service:<name>``, ``anonymous``.
    """
    kind, identifier = resource or ("user", str(user_id)) if user_id or resource else (None, None)
    await session.execute(
        _APPEND,
        {
            "user_id": user_id,
            "action": action,
            "kind": kind,
            "id": identifier,
            "ip": peer.ip,
            "agent": peer.user_agent,
            "details": json.dumps(dict(details or {})),
            "severity": severity,
            "actor": actor,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        },
    )
