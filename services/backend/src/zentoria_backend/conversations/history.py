"""What was said, in the index: so that it is found by its meaning as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import select
from zentoria_common.identity import OnBehalf
from zentoria_schema.core import Message as Row

from zentoria_backend.callees.service import passed_on
from zentoria_backend.conversations.service import FORGET
from zentoria_backend.jobs.queue import Chore
from zentoria_backend.services import Services

REMEMBER = "messages.remember"
"""The chore that puts a message into the index."""
SCOPES = frozenset({"chat:read", "chat:write"})
_SECONDS = 60.0


async def remember(services: Services, user_id: int, messages: Iterable[UUID]) -> None:
    """Have messages put into the index, some time."""
    for one in messages:
        await services.jobs.chore(REMEMBER, user_id, one)


async def _remember(services: Services, user_id: int, message_id: UUID) -> None:
    async with services.database.session(user_id) as session:
        row = await session.scalar(select(Row).where(Row.id == message_id, Row.state == "complete"))
    if row is None or not row.content.strip():
        return
    answer = await services.callees.call(
        "embeddings",
        "PUT",
        f"/v1/messages/{message_id}",
        user=OnBehalf(user_id, SCOPES),
        json={"conversation_id": str(row.conversation_id), "text": row.content},
        timeout=_SECONDS,
    )
    passed_on(answer, "embeddings")


async def _forget(services: Services, user_id: int, conversation_id: UUID) -> None:
    answer = await services.callees.call(
        "embeddings",
        "DELETE",
        f"/v1/conversations/{conversation_id}",
        user=OnBehalf(user_id, SCOPES),
        timeout=_SECONDS,
    )
    if answer.status_code != 404:
        passed_on(answer, "embeddings")


CHORES: Mapping[str, Chore] = {FORGET: _forget, REMEMBER: _remember}
