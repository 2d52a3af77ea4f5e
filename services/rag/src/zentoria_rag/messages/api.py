"""Routes of messages."""

from __future__ import annotations

import uuid

from fastapi import APIRouter
from zentoria_common.problems import answers

from zentoria_rag.messages.schemas import Forgotten, Message, MessageAnswer, MessageSearch, Stored
from zentoria_rag.services import OwnerDep, ServicesDep

router = APIRouter(prefix="/v1", tags=["messages"])


@router.put("/messages/{message_id}", responses=answers(403, 409))
async def put(message_id: uuid.UUID, message: Message, services: ServicesDep, owner: OwnerDep) -> Stored:
    """Keep a message; the second time, it takes the place of the first."""
    return await services.messages.put(owner, message_id, message)


@router.delete("/conversations/{conversation_id}", responses=answers(403))
async def forget(conversation_id: uuid.UUID, services: ServicesDep, owner: OwnerDep) -> Forgotten:
    """Remove all messages of a conversation; ``left`` is the proof."""
    return await services.messages.forget(owner, conversation_id)


@router.post("/messages/search", responses=answers(403))
async def search(request: MessageSearch, services: ServicesDep, owner: OwnerDep) -> MessageAnswer:
    """Find what was said."""
    return await services.messages.search(owner, request)
