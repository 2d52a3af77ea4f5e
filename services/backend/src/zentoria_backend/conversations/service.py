"""Conversations: kept, changed, searched, taken along, deleted. Every question names its owner, and so does the row."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem
from zentoria_schema.core import Conversation as ConversationRow
from zentoria_schema.core import Message as MessageRow

from zentoria_backend import paging
from zentoria_backend.access.principal import Principal
from zentoria_backend.conversations.schemas import (
    Conversation,
    ConversationChange,
    Hit,
    Message,
    NewConversation,
    NewMessage,
)
from zentoria_backend.events import publish
from zentoria_backend.paging import Page
from zentoria_backend.services import Services

EXPORT_PAGE = 200
MAX_KEPT = 200_000
"""Characters of an answer that are kept."""
FORGET = "conversations.forget"
"""The chore that takes a conversation out of the index."""
SEARCHED = 100_000
"""Characters of a message that a search looks at."""

_CURRENT = paging.Listing(ConversationRow, ConversationRow.updated_at, ConversationRow.archived_at.is_(None))
_ARCHIVED = paging.Listing(ConversationRow, ConversationRow.updated_at, ConversationRow.archived_at.is_not(None))
_SIMPLE: sqlalchemy.ColumnElement[Any] = literal_column("'simple'::regconfig")
_HEADLINE = 'MaxWords=30, MinWords=12, StartSel="", StopSel=""'


async def list_conversations(
    services: Services, principal: Principal, limit: int, cursor: str | None = None, *, archived: bool = False
) -> Page[Conversation]:
    """The caller's conversations, what changed last first.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    wanted = _ARCHIVED if archived else _CURRENT
    return await wanted.page(services.database, principal.user_id, limit, cursor, _shown)


async def get_conversation(services: Services, principal: Principal, conversation_id: UUID) -> Conversation:
    """One of the caller's conversations.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        return _shown(await found(session, principal, conversation_id))


async def make_conversation(services: Services, principal: Principal, new: NewConversation) -> Conversation:
    """Begin a conversation."""
    row = ConversationRow(user_id=principal.user_id, title=new.title, model=new.model)
    async with services.database.session(principal.user_id) as session:
        session.add(row)
        await session.flush()
        await session.refresh(row)
    await tell(services, principal, row.id, "created")
    return _shown(row)


async def change_conversation(
    services: Services, principal: Principal, conversation_id: UUID, change: ConversationChange, revision: int | None
) -> Conversation:
    """Change a conversation.

    Args:
        services: of the application.
        principal: who changes it.
        conversation_id: which one.
        change: what shall be otherwise.
        revision: the one that the client saw; None: whichever it is.

    Raises:
        Problem: 404; 412, it was changed meanwhile.
    """
    async with services.database.session(principal.user_id) as session:
        row = await found(session, principal, conversation_id, lock=True)
        if revision is not None and revision != row.revision:
            raise Problem(412, "the conversation was changed meanwhile: read it again", kind="changed-meanwhile")
        if change.title is not None:
            row.title = change.title
        if change.archived is not None:
            row.archived_at = services.clock() if change.archived else None
        row.revision += 1
        await session.flush()
        await session.refresh(row)
    await tell(services, principal, conversation_id, "changed")
    return _shown(row)


async def delete_conversation(services: Services, principal: Principal, conversation_id: UUID) -> None:
    """Delete a conversation and all that was said in it. There is no way back.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        row = await found(session, principal, conversation_id, lock=True)
        await session.delete(row)
        await session.flush()
        await services.audit.record(
            principal, "conversations.delete", "conversation", str(conversation_id), severity="notice", session=session
        )
    await tell(services, principal, conversation_id, "deleted")
    await services.jobs.chore(FORGET, principal.user_id, conversation_id)


async def list_messages(
    services: Services, principal: Principal, conversation_id: UUID, limit: int, cursor: str | None = None
) -> Page[Message]:
    """What was said in a conversation, in order.

    Raises:
        Problem: 404; 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, int)
    async with services.database.session(principal.user_id) as session:
        await found(session, principal, conversation_id)
        rows = await _messages(session, principal, conversation_id, after[0] if after else 0, limit + 1)
    return paging.page(rows, limit, _said, lambda row: (row.number,))


async def add_message(services: Services, principal: Principal, conversation_id: UUID, new: NewMessage) -> Message:
    """Say something in a conversation, as its user.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        conversation = await found(session, principal, conversation_id, lock=True)  # numbers are given one by one
        newest = select(MessageRow).where(MessageRow.conversation_id == conversation_id)
        last = await session.scalar(newest.order_by(MessageRow.number.desc()).limit(1))
        row = MessageRow(
            conversation_id=conversation_id,
            user_id=principal.user_id,
            number=last.number + 1 if last else 1,
            parent_id=last.id if last else None,
            role="user",
            content=new.content,
        )
        session.add(row)
        conversation.revision += 1
        await session.flush()
        await session.refresh(row)
    await tell(services, principal, conversation_id, "message", message_id=str(row.id), number=row.number)
    return _said(row)


async def search(
    services: Services, principal: Principal, words: str, limit: int, cursor: str | None = None
) -> Page[Hit]:
    """Messages of the caller with all these words, the newest first.

    Args:
        services: of the application.
        principal: whose messages.
        words: as in a web search: ``"a phrase"``, ``or``, ``-without``.
        limit: of hits.
        cursor: of the page before.

    Raises:
        Problem: 422, the cursor is none of this list.
    """
    after = paging.decode(cursor, datetime.datetime, UUID)
    asked = func.websearch_to_tsquery(_SIMPLE, words)
    text = func.left(MessageRow.content, SEARCHED)
    query = (
        select(
            MessageRow.id,
            MessageRow.number,
            MessageRow.role,
            MessageRow.conversation_id,
            MessageRow.created_at,
            ConversationRow.title,
            func.ts_headline(_SIMPLE, text, asked, _HEADLINE).label("excerpt"),
        )
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
        .where(
            MessageRow.user_id == principal.user_id,
            ConversationRow.user_id == principal.user_id,
            ConversationRow.deleted_at.is_(None),
            func.to_tsvector(_SIMPLE, text).op("@@")(asked),
        )
    )
    if after is not None:
        query = query.where(sqlalchemy.tuple_(MessageRow.created_at, MessageRow.id) < after)
    query = query.order_by(MessageRow.created_at.desc(), MessageRow.id.desc()).limit(limit + 1)
    async with services.database.session(principal.user_id) as session:
        rows = (await session.execute(query)).all()
    return paging.page(rows, limit, _hit, lambda row: (row.created_at, str(row.id)))


async def export_json(services: Services, principal: Principal, conversation_id: UUID) -> AsyncIterator[str]:
    """A whole conversation as JSON, piece by piece.

    Raises:
        Problem: 404, before the first piece.
    """
    head = await get_conversation(services, principal, conversation_id)
    yield f'{{"conversation":{head.model_dump_json()},"messages":['
    separator = ""
    async for message in _every(services, principal, conversation_id):
        yield separator + message.model_dump_json()
        separator = ","
    yield "]}\n"


async def export_markdown(services: Services, principal: Principal, conversation_id: UUID) -> AsyncIterator[str]:
    """The same to read: who said what, and when.

    Raises:
        Problem: 404, before the first piece.
    """
    head = await get_conversation(services, principal, conversation_id)
    yield f"# {head.title or 'Conversation'}\n\n{head.created_at.isoformat(timespec='seconds')}\n"
    async for message in _every(services, principal, conversation_id):
        yield f"\n## {message.role}, {message.created_at.isoformat(timespec='seconds')}\n\n{message.content}\n"
        if message.sources:
            yield f"\nSources: `{json.dumps(message.sources, ensure_ascii=False)}`\n"


async def _every(services: Services, principal: Principal, conversation_id: UUID) -> AsyncIterator[Message]:
    number = 0
    while True:
        async with services.database.session(principal.user_id) as session:
            rows = await _messages(session, principal, conversation_id, number, EXPORT_PAGE)
        for row in rows:
            yield _said(row)
        if len(rows) < EXPORT_PAGE:
            return
        number = rows[-1].number


async def _messages(
    session: AsyncSession, principal: Principal, conversation_id: UUID, after: int, limit: int
) -> list[MessageRow]:
    query = (
        select(MessageRow)
        .where(
            MessageRow.conversation_id == conversation_id,
            MessageRow.user_id == principal.user_id,
            MessageRow.number > after,
        )
        .order_by(MessageRow.number)
        .limit(limit)
    )
    return list((await session.scalars(query)).all())


async def found(
    session: AsyncSession, principal: Principal, conversation_id: UUID, *, lock: bool = False
) -> ConversationRow:
    """The row of one of the caller's conversations.

    Raises:
        Problem: 404.
    """
    query = _own(principal).where(ConversationRow.id == conversation_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem(404, "there is no such conversation")
    return row


def _own(principal: Principal) -> sqlalchemy.Select[ConversationRow]:
    return select(ConversationRow).where(
        ConversationRow.user_id == principal.user_id, ConversationRow.deleted_at.is_(None)
    )


async def tell(
    services: Services, principal: Principal, conversation_id: UUID, change: str, **members: str | int
) -> None:
    """Tell the user's open pages what became of a conversation."""
    told = {"id": str(conversation_id), "change": change, **members}
    await publish(services.redis, principal.user_id, "conversations", told)


def _shown(row: ConversationRow) -> Conversation:
    return Conversation(
        id=row.id,
        title=row.title,
        model=row.model,
        archived=row.archived_at is not None,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _said(row: MessageRow) -> Message:
    return Message.model_validate(row, from_attributes=True)


def _hit(row: Any) -> Hit:
    return Hit(
        conversation_id=row.conversation_id,
        title=row.title,
        message_id=row.id,
        number=row.number,
        role=row.role,
        excerpt=row.excerpt,
        created_at=row.created_at,
    )
