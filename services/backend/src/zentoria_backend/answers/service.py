"""Answers: asked for, found, stopped, and put in order when whoever wrote them is gone."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any
from uuid import UUID

import redis.exceptions
import sqlalchemy
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.problems import Problem, Unavailable
from zentoria_schema.core import File as FileRow
from zentoria_schema.core import Memory as MemoryRow
from zentoria_schema.core import Message as Row

from zentoria_backend.access.principal import Principal
from zentoria_backend.answers.schemas import Begun, NewAnswer
from zentoria_backend.conversations import service as conversations
from zentoria_backend.jobs.service import described
from zentoria_backend.services import Services

MOST_RUNNING = 4
"""Answers of one user that are written at a time."""
MOST_BEFORE = 60
"""Messages before the question that a model is told of; what does not fit, it says itself."""
MOST_MEMORIES = 50
TITLE = 60

_LINE = sqlalchemy.text(
    "with recursive line as ("
    " select id, parent_id, role, content, state, 0 as depth from messages where id = :id and user_id = :user"
    " union all select m.id, m.parent_id, m.role, m.content, m.state, line.depth + 1"
    " from messages m join line on m.id = line.parent_id where line.depth < :most)"
    " select role, content from line"
    " where state in ('complete', 'cancelled') and content <> '' and role in ('user', 'assistant') order by depth desc"
)


@dataclasses.dataclass(frozen=True)
class Question:
    """What an answer is written of.

    Args:
        answer_id: the row that it goes into.
        message_id: the question's.
        conversation_id: of both.
        messages: what was said, the question last.
        asked: how it shall be answered.
        memory: what may be known of the user.
        attachments: files that it is about, with their names.
    """

    answer_id: UUID
    message_id: UUID
    conversation_id: UUID
    messages: list[dict[str, str]]
    asked: NewAnswer
    memory: list[str]
    attachments: list[dict[str, str]]


async def begin(services: Services, principal: Principal, conversation_id: UUID, asked: NewAnswer) -> Question:
    """Keep the question, and the answer's place.

    Raises:
        Problem: 404 for the conversation, a message or a file; 409, no answer is to be answered again; 429.
        Unavailable: Redis does not answer, where its events would be told.
    """
    now = services.clock()
    recent = now - datetime.timedelta(minutes=30)
    running = select(func.count()).where(
        Row.user_id == principal.user_id, Row.state == "streaming", Row.created_at > recent
    )
    async with services.database.session(principal.user_id) as session:
        conversation = await conversations.found(session, principal, conversation_id, lock=True)
        if (await session.scalar(running) or 0) >= MOST_RUNNING:
            raise Problem(
                429,
                f"{MOST_RUNNING} answers are being written for you already",
                kind="too-many-answers",
                headers={"retry-after": "5"},
            )
        number = await session.scalar(select(func.max(Row.number)).where(Row.conversation_id == conversation_id)) or 0
        attachments = await _attachments(session, principal, asked.attachments)
        if asked.retry_of is not None:
            question = await _question_of(session, principal, conversation_id, asked.retry_of)
            attachments = [part for part in question.parts if part.get("type") == "attachment"]
        else:
            question = Row(
                conversation_id=conversation_id,
                user_id=principal.user_id,
                number=(number := number + 1),
                role="user",
                content=asked.content or "",
                parts=attachments,
                parent_id=await _parent(session, principal, conversation_id, asked),
            )
            session.add(question)
            await session.flush()
        answer = Row(
            conversation_id=conversation_id,
            user_id=principal.user_id,
            number=number + 1,
            role="assistant",
            state="streaming",
            parent_id=question.id,
            model=asked.model or conversation.model,
            attributes=asked.model_dump(mode="json", include={"documents", "model", "project"}),
        )
        session.add(answer)
        conversation.revision += 1
        if not conversation.title and question.content:
            conversation.title = titled(question.content)
        await session.flush()
        line = await session.execute(_LINE, {"id": question.id, "user": principal.user_id, "most": MOST_BEFORE})
        messages = [{"role": row.role, "content": row.content} for row in line]
        remembered = select(MemoryRow.text).where(MemoryRow.user_id == principal.user_id)
        memory = await session.scalars(remembered.order_by(MemoryRow.created_at.desc()).limit(MOST_MEMORIES))
        begun = Question(
            answer_id=answer.id,
            message_id=question.id,
            conversation_id=conversation_id,
            messages=messages,
            asked=asked if asked.model or not conversation.model else asked.model_copy(update={"model": answer.model}),
            memory=list(memory),
            attachments=[{"file_id": one["file_id"], "filename": one["filename"]} for one in attachments],
        )
        try:
            await services.answers.stream(answer.id).begin(services.settings.answer_grace)
        except (redis.exceptions.RedisError, OSError) as error:
            raise Unavailable("redis") from error  # and nothing of it is kept
    await conversations.tell(
        services, principal, conversation_id, "message", message_id=str(begun.message_id), answer_id=str(answer.id)
    )
    return begun


def begun(question: Question) -> Begun:
    """What the client is told."""
    return Begun(message_id=question.message_id, answer_id=question.answer_id)


async def answer_row(services: Services, principal: Principal, conversation_id: UUID, answer_id: UUID) -> Row:
    """The message that an answer is, or becomes.

    Raises:
        Problem: 404.
    """
    async with services.database.session(principal.user_id) as session:
        return await _answer(session, principal, conversation_id, answer_id)


async def cancel(services: Services, principal: Principal, conversation_id: UUID, answer_id: UUID) -> None:
    """Stop writing it, wherever it is written. What is there already stays. One that is whole stays as it is.

    Raises:
        Problem: 404.
        Unavailable: Redis does not answer.
    """
    row = await answer_row(services, principal, conversation_id, answer_id)
    if row.state != "streaming":
        return
    stream = services.answers.stream(answer_id)
    try:
        await stream.cancel()
        alive = await stream.is_alive()
    except (redis.exceptions.RedisError, OSError) as error:
        raise Unavailable("redis") from error
    if not alive:
        await settle(services, principal.user_id, answer_id, state="cancelled")


@dataclasses.dataclass
class Written:
    """What an answer has so far, by its events."""

    text: str = ""
    citations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    parts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    done: dict[str, Any] | None = None
    state: str = "complete"
    error: dict[str, Any] | None = None

    def take(self, name: str, data: dict[str, Any]) -> None:
        """Take an event in."""
        match name:
            case "delta":
                self.text += str(data.get("text", ""))
            case "citation":
                self.citations.append({"type": "citation", **data})
            case "proposal" | "result" | "dropped":
                self.parts.append({"type": name, **data})
            case "done":
                self.done = data
                self.text = str(data.get("text", self.text))

    def values(self) -> dict[str, Any]:
        """The columns of its row."""
        done = self.done or {}
        usage = done.get("usage") or {}
        more = {"refused": bool(done.get("refused")), "unsupported": done.get("unsupported") or []} if done else {}
        values = {
            "content": self.text.replace("\0", "\ufffd")[: conversations.MAX_KEPT],
            "parts": [*self.citations, *self.parts, *([{"type": "check", **more}] if more else [])],
            "sources": list(done.get("sources") or []),
            "state": self.state,
            "error": self.error,
            "tokens_in": _count(usage.get("prompt_tokens")),
            "tokens_out": _count(usage.get("completion_tokens")),
        }
        return values | ({"model": str(done["model"])[:100]} if done.get("model") else {})


async def keep(services: Services, user_id: int, answer_id: UUID, written: Written) -> bool:
    """Put what was written into the message. False: it was put in order by somebody already, or deleted.

    Raises:
        Unavailable: the database does not answer.
    """
    changed = update(Row).where(Row.id == answer_id, Row.state == "streaming").values(**written.values())
    async with services.database.session(user_id) as session:
        return (await session.scalar(changed.returning(Row.id))) is not None


async def settle(services: Services, user_id: int, answer_id: UUID, *, state: str = "failed") -> None:
    """Put an answer in order whose writer is gone: what it wrote is kept, and listeners hear that no more comes.

    Raises:
        Unavailable: the database does not answer.
        redis.exceptions.RedisError: Redis does not.
    """
    stream = services.answers.stream(answer_id)
    written = Written()
    for _, name, data in await stream.after("0-0", block=False):
        written.take(name, json.loads(data))
    if written.done is None:
        gone = Problem(503, "the answer broke off: ask for it again", kind="answer-interrupted")
        written.state = state
        written.error = None if state == "cancelled" else described(gone)
        if await keep(services, user_id, answer_id, written):
            last = (
                {"text": written.text, "cancelled": True} if state == "cancelled" else {**described(gone), "title": ""}
            )
            await stream.add("done" if state == "cancelled" else "error", last)
    else:
        await keep(services, user_id, answer_id, written)
    await stream.over()


def titled(content: str) -> str:
    """A conversation's name by its first question."""
    words = " ".join("".join(one if one.isprintable() else " " for one in content[:400]).split())
    return words if len(words) <= TITLE else words[:TITLE].rsplit(" ", 1)[0] + " \u2026"


async def _attachments(session: AsyncSession, principal: Principal, wanted: list[UUID]) -> list[dict[str, str]]:
    if not wanted:
        return []
    query = select(FileRow.id, FileRow.filename).where(
        FileRow.user_id == principal.user_id, FileRow.id.in_(wanted), FileRow.deleted_at.is_(None)
    )
    names = {row.id: row.filename for row in await session.execute(query)}
    if missing := [one for one in wanted if one not in names]:
        raise Problem(404, "there is no such file", file_ids=[str(one) for one in missing])
    return [{"type": "attachment", "file_id": str(one), "filename": names[one]} for one in dict.fromkeys(wanted)]


async def _parent(session: AsyncSession, principal: Principal, conversation_id: UUID, asked: NewAnswer) -> UUID | None:
    if asked.root:
        return None
    of_it = select(Row.id).where(Row.conversation_id == conversation_id, Row.user_id == principal.user_id)
    if asked.parent is None:
        return await session.scalar(of_it.order_by(Row.number.desc()).limit(1))
    found = await session.scalar(of_it.where(Row.id == asked.parent))
    if found is None:
        raise Problem(404, "there is no such message in this conversation")
    return found


async def _answer(session: AsyncSession, principal: Principal, conversation_id: UUID, answer_id: UUID) -> Row:
    query = select(Row).where(
        Row.id == answer_id,
        Row.conversation_id == conversation_id,
        Row.user_id == principal.user_id,
        Row.role == "assistant",
    )
    found = (await session.scalars(query)).one_or_none()
    if found is None:
        raise Problem(404, "there is no such answer")
    return found


async def _question_of(session: AsyncSession, principal: Principal, conversation_id: UUID, answer_id: UUID) -> Row:
    answer = await _answer(session, principal, conversation_id, answer_id)
    question = await session.scalar(
        select(Row).where(Row.id == answer.parent_id, Row.user_id == principal.user_id, Row.role == "user")
    )
    if question is None:
        raise Problem(409, "that message answers no question", kind="no-question")
    return question


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None
