"""Writes one answer: asks the orchestrator, tells its events, keeps what came of them.

The gateway stands between: a question that is a command is planned instead, reads of it are done, and what would change
something becomes a proposal that waits for its user.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import redis.exceptions
import structlog
from sqlalchemy.exc import SQLAlchemyError
from zentoria_common.problems import Problem, Unavailable
from zentoria_common.tasks import ended

from zentoria_backend.access.principal import Principal
from zentoria_backend.answers import service
from zentoria_backend.answers.runs import Stream
from zentoria_backend.answers.service import Question, Written
from zentoria_backend.callees import ndjson
from zentoria_backend.commands import planning
from zentoria_backend.conversations import history
from zentoria_backend.conversations import service as conversations
from zentoria_backend.jobs.service import described
from zentoria_backend.services import Services

LOOK_SECONDS = 0.25
"""How often the writer looks whether somebody still listens, or wants it to stop."""
SIGN_EVERY = 8
"""Looks after which it says that it lives."""
KEEP_TRIES = 5

_log = structlog.stdlib.get_logger("zentoria_backend.answers")


async def write(services: Services, principal: Principal, question: Question) -> None:
    """Write an answer to its end, whatever that is. Nothing is raised: who asked has gone on."""
    stream = services.answers.stream(question.answer_id)
    written = Written()
    writer = asyncio.create_task(_ask(services, principal, question, stream, written), name="answer-ask")
    watcher = asyncio.create_task(_watch(stream), name="answer-watch")
    last: tuple[str, dict[str, Any]]
    try:
        await asyncio.wait({writer, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if writer.done():
            writer.result()
            last = ("done", written.done or {})
        else:
            why = watcher.result()
            written.state = "cancelled"
            last = ("done", {"text": written.text, "cancelled": True, "why": why})
    except asyncio.CancelledError:
        last = _failed(written, Problem(503, "the server stops: ask for it again", kind="answer-interrupted"))
    except Problem as problem:
        last = _failed(written, problem)
    except (redis.exceptions.RedisError, OSError):
        last = _failed(written, Unavailable("redis"))
    except Exception as error:
        _log.exception("answer fails", error_type=type(error).__qualname__)
        last = _failed(written, Problem(500, "the answer failed by a fault of the gateway's own"))
    await ended(writer, watcher)
    await asyncio.shield(_end(services, principal, question, stream, written, last))


def _failed(written: Written, problem: Problem) -> tuple[str, dict[str, Any]]:
    written.state, written.error = "failed", described(problem)
    wait = problem.headers.get("retry-after")
    return "error", {**written.error, "title": "", **({"retry_after": int(wait)} if wait else {})}


async def _end(
    services: Services,
    principal: Principal,
    question: Question,
    stream: Stream,
    written: Written,
    last: tuple[str, dict[str, Any]],
) -> None:
    """First the row, then the last event: who hears it can read the whole message."""
    for attempt in range(KEEP_TRIES):
        try:
            await service.keep(services, principal.user_id, question.answer_id, written)
            break
        except (Unavailable, SQLAlchemyError) as error:
            _log.warning("answer not kept yet", error_type=type(error).__qualname__)
            await asyncio.sleep(min(2.0**attempt / 4, 2.0))
    with contextlib.suppress(redis.exceptions.RedisError, OSError):
        await stream.add(*last)
        await stream.over()
    await conversations.tell(
        services,
        principal,
        question.conversation_id,
        "answer",
        message_id=str(question.answer_id),
        state=written.state,
    )
    if written.state == "complete":
        await history.remember(services, principal.user_id, (question.message_id, question.answer_id))


async def _watch(stream: Stream) -> str:
    """Return why it shall stop."""
    looks = 0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        heard, cancelled = await stream.wishes()
        if cancelled:
            return "cancelled"
        if not heard:
            return "nobody listens"
        looks += 1
        if looks % SIGN_EVERY == 0:
            await stream.alive()


async def _ask(services: Services, principal: Principal, question: Question, stream: Stream, written: Written) -> None:
    async def tell(name: str, data: dict[str, Any]) -> None:
        written.take(name, data)
        if name != "done":  # that one comes when the row is there
            await stream.add(name, data)

    if question.asked.retry_of is None and await planning.answered(services, principal, question, tell):
        return
    callees = services.callees
    spoken = callees.spoken_for("embeddings", principal)
    asked = question.asked
    body: dict[str, Any] = {
        "conversation_id": str(question.conversation_id),
        "message_id": str(question.message_id),
        "messages": question.messages,
        "model": asked.model,
        "documents": asked.documents,
        "filters": {"project": asked.project} if asked.project else None,
        "memory": question.memory,
        "attachments": [one["file_id"] for one in question.attachments],
    }
    async with (
        callees.stream(
            "ai",
            "POST",
            "/v1/answers",
            user=principal,
            json={name: value for name, value in body.items() if value is not None},
            headers={"zentoria-user-for-embeddings": spoken} if spoken else None,
            silence=services.settings.stream_silence,
        ) as answer,
        contextlib.aclosing(ndjson.events(answer, "ai")) as events,
    ):
        async for event in events:
            await tell(event.pop("event"), event)
