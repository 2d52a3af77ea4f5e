"""Names in place of ids: people say what a thing is called, tools want its id."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem
from zentoria_schema.core import ApiKey, Conversation, File, Workflow

from zentoria_backend.access.principal import Principal
from zentoria_backend.services import Services

MOST = 5
"""Things of one name that are told apart for the user."""
_SHORT = {"file": "file_id", "key": "key_id", "workflow": "workflow_id", "conversation": "conversation_id"}
_KINDS = ("file", "key", "workflow", "conversation")


async def resolved(services: Services, principal: Principal, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with ids of the caller's own things where they have names.

    Raises:
        Problem: 404, nothing is called so; 409, several things are.
    """
    found: dict[str, Any] = {}
    async with services.database.session(principal.user_id) as session:
        for given, value in arguments.items():
            name = _SHORT.get(given, given)
            kind = name.removesuffix("s").removesuffix("_id")
            if name == "attachments":
                kind = "file"
            if kind not in _KINDS or not name.endswith(("_id", "_ids", "attachments")):
                found[name] = value
            elif isinstance(value, list):
                found[name] = [await _one(session, principal, kind, each) for each in value[:20]]
            else:
                found[name] = await _one(session, principal, kind, value)
    return found


async def _one(session: AsyncSession, principal: Principal, kind: str, value: Any) -> Any:
    if isinstance(value, Mapping):  # an attachment, as the orchestrator was told of it
        value = value.get("file_id") or value.get("id")
    if not isinstance(value, str):
        return value
    try:
        return str(UUID(value))
    except ValueError:
        pass
    name = value.strip().strip("\"'")[:255].replace("\0", "")
    rows = (await session.execute(_query(principal, kind, name))).all()
    exact = [row for row in rows if row[1] == name] or list(rows)
    if not exact:
        raise Problem(404, f"there is no {kind} called {name[:100]!r}", kind="no-such-name", name=name[:100])
    if len(exact) > 1:
        which = [{"id": str(row[0]), "name": row[1], "at": row[2].isoformat()} for row in exact[:MOST]]
        raise Problem(
            409, f"several of your {kind}s are called {name[:100]!r}: say which one", kind="several", which=which
        )
    return str(exact[0][0])


def _query(principal: Principal, kind: str, name: str) -> sqlalchemy.Select[UUID, str, datetime.datetime]:
    low = name.lower()
    lower = sqlalchemy.func.lower
    match kind:
        case "file":
            stem = sqlalchemy.func.regexp_replace(lower(File.filename), r"\.[a-z0-9]{1,5}$", "")
            query = select(File.id, File.filename, File.uploaded_at).where(
                File.user_id == principal.user_id,
                File.deleted_at.is_(None),
                sqlalchemy.or_(lower(File.filename) == low, stem == low),
            )
            return query.order_by(File.uploaded_at.desc()).limit(MOST + 1)
        case "key":
            query = select(ApiKey.id, ApiKey.name, ApiKey.created_at).where(
                ApiKey.user_id == principal.user_id, ApiKey.revoked_at.is_(None), lower(ApiKey.name) == low
            )
            return query.order_by(ApiKey.created_at.desc()).limit(MOST + 1)
        case "workflow":
            query = select(Workflow.id, Workflow.name, Workflow.created_at).where(
                Workflow.user_id == principal.user_id, Workflow.deleted_at.is_(None), lower(Workflow.name) == low
            )
            return query.order_by(Workflow.created_at.desc()).limit(MOST + 1)
        case _:
            query = select(Conversation.id, Conversation.title, Conversation.created_at).where(
                Conversation.user_id == principal.user_id,
                Conversation.deleted_at.is_(None),
                lower(Conversation.title) == low,
            )
            return query.order_by(Conversation.created_at.desc()).limit(MOST + 1)
