"""Searches files by name and by what they say, and conversations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from zentoria_common.problems import Problem
from zentoria_schema.core import Conversation as ConversationRow
from zentoria_schema.core import Message as MessageRow

from zentoria_backend.access.principal import Principal
from zentoria_backend.callees.service import passed_on
from zentoria_backend.conversations import service as conversations
from zentoria_backend.conversations.schemas import Hit
from zentoria_backend.documents import service as documents
from zentoria_backend.files import service as files
from zentoria_backend.search.schemas import Found
from zentoria_backend.services import Services

_EXCERPT = 300


async def search(
    services: Services, principal: Principal, words: str, limit: int, *, project: str | None = None
) -> Found:
    """Search all that the credential may read. A container that is away is named; the rest is found all the same."""
    found = Found(files=[], passages=[], messages=[])
    if "files:read" in principal.scopes:
        found.files = (await files.list_files(services, principal, limit, None, query=words, project=project)).items
    if "chat:read" in principal.scopes:
        found.messages = (await conversations.search(services, principal, words, limit)).items
    try:
        told = await documents.search(services, principal, words, limit, project=project)
        found.passages, found.supported, found.understood = told.hits, told.supported, told.understood
        if "chat:read" in principal.scopes:
            there = {one.message_id for one in found.messages}
            found.messages += [
                one for one in await by_meaning(services, principal, words, limit) if one.message_id not in there
            ][: max(0, limit - len(found.messages))]
    except Problem as problem:
        if problem.status < 500:
            raise
        found.missing = ["embeddings"]
    return found


async def by_meaning(services: Services, principal: Principal, words: str, limit: int) -> list[Hit]:
    """Messages that mean what the words mean, the best first.

    Raises:
        Problem: 503, retrieval is away.
    """
    body = {"query": words, "limit": limit}
    answer = await services.callees.call(
        "embeddings", "POST", "/v1/messages/search", user=principal, json=body, timeout=documents.SEARCH_SECONDS
    )
    told = passed_on(answer, "embeddings")
    hits = told.get("hits") if isinstance(told, dict) else None
    ids: list[UUID] = []
    for one in hits or ():
        try:
            ids.append(UUID(str(one["message_id"])))
        except (KeyError, TypeError, ValueError):
            continue
    if not ids:
        return []
    query = (
        select(
            MessageRow.id, MessageRow.number, MessageRow.role, MessageRow.conversation_id, MessageRow.created_at,
            MessageRow.content, ConversationRow.title,
        )
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
        .where(
            MessageRow.user_id == principal.user_id,
            MessageRow.id.in_(ids),
            ConversationRow.user_id == principal.user_id,
            ConversationRow.deleted_at.is_(None),
        )
    )  # fmt: skip
    async with services.database.session(principal.user_id) as session:
        rows = {row.id: row for row in await session.execute(query)}
    return [
        Hit(
            conversation_id=row.conversation_id,
            title=row.title,
            message_id=row.id,
            number=row.number,
            role=row.role,
            excerpt=row.content[:_EXCERPT],
            created_at=row.created_at,
        )
        for one in dict.fromkeys(ids)
        if (row := rows.get(one)) is not None
    ]
