"""``/api/v1/conversations``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from zentoria_common.problems import Problem, answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.conversations import service
from zentoria_backend.conversations.schemas import (
    Conversation,
    ConversationChange,
    Export,
    Hit,
    Message,
    NewConversation,
    NewMessage,
)
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

PATH = "/api/v1/conversations"
ONE = PATH + "/{conversation_id}"

router = APIRouter(tags=["conversations"])

Words = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=['"fjord" -car'], alias="q")]
IfMatch = Annotated[str | None, Header(max_length=40, description="the ETag that you saw", examples=['"3"'])]


@router.get(PATH, summary="List conversations")
async def list_conversations(
    principal: Caller,
    services: ServicesDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    archived: Annotated[bool, Query(description="those that were put away, in place of the others")] = False,
) -> Page[Conversation]:
    """Your conversations, what changed last first."""
    return await service.list_conversations(services, principal, limit, cursor, archived=archived)


@router.post(PATH, summary="Begin a conversation", status_code=201)
async def make_conversation(
    body: NewConversation, principal: Caller, services: ServicesDep, response: Response
) -> Conversation:
    """Begin a conversation, without a message yet."""
    made = await service.make_conversation(services, principal, body)
    response.headers["location"] = f"{PATH}/{made.id}"
    return _tagged(made, response)


@router.get(PATH + "/search", summary="Search messages")
async def search(
    words: Words, principal: Caller, services: ServicesDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[Hit]:
    """Your messages that have all the words, the newest first."""
    return await service.search(services, principal, words, limit, cursor)


@router.get(ONE, summary="One conversation", responses=answers(404))
async def get_conversation(
    conversation_id: UUID, principal: Caller, services: ServicesDep, response: Response
) -> Conversation:
    """One of your conversations, without its messages."""
    return _tagged(await service.get_conversation(services, principal, conversation_id), response)


@router.patch(ONE, summary="Rename or archive", responses=answers(404, 412))
async def change_conversation(
    conversation_id: UUID,
    body: ConversationChange,
    principal: Caller,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> Conversation:
    """Change a conversation; with ``If-Match``, only if nobody else did since you read it."""
    revision = _revision(if_match)
    return _tagged(await service.change_conversation(services, principal, conversation_id, body, revision), response)


@router.delete(ONE, summary="Delete a conversation", status_code=204, responses=answers(404))
async def delete_conversation(conversation_id: UUID, principal: Caller, services: ServicesDep) -> Response:
    """Delete a conversation and its messages, for good."""
    await service.delete_conversation(services, principal, conversation_id)
    return Response(status_code=204)


@router.get(ONE + "/messages", summary="List messages", responses=answers(404))
async def list_messages(
    conversation_id: UUID,
    principal: Caller,
    services: ServicesDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[Message]:
    """What was said in a conversation, in order."""
    return await service.list_messages(services, principal, conversation_id, limit, cursor)


@router.post(ONE + "/messages", summary="Add a message", status_code=201, responses=answers(404))
async def add_message(conversation_id: UUID, body: NewMessage, principal: Caller, services: ServicesDep) -> Message:
    """Say something in a conversation. It is kept; ``/api/v1/mcp/command`` is what gets an answer."""
    return await service.add_message(services, principal, conversation_id, body)


@router.get(
    ONE + "/export",
    summary="Export a conversation",
    response_class=StreamingResponse,
    responses={
        200: {
            "model": Export,
            "description": "The conversation with all its messages",
            "content": {"text/markdown": {"schema": {"type": "string"}}},
        },
        **answers(404),
    },
)
async def export(
    conversation_id: UUID,
    principal: Caller,
    services: ServicesDep,
    form: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json",
) -> StreamingResponse:
    """A conversation with all its messages, as a file."""
    make = service.export_json if form == "json" else service.export_markdown
    pieces = make(services, principal, conversation_id)
    first = await anext(pieces)  # a conversation that is not there is a 404, and no half answer

    async def whole() -> AsyncIterator[str]:
        yield first
        async for piece in pieces:
            yield piece

    name = f"conversation-{conversation_id}.{'json' if form == 'json' else 'md'}"
    return StreamingResponse(
        whole(),
        media_type="application/json" if form == "json" else "text/markdown; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _tagged(conversation: Conversation, response: Response) -> Conversation:
    response.headers["etag"] = f'"{conversation.revision}"'
    return conversation


def _revision(if_match: str | None) -> int | None:
    """The revision of an ``If-Match`` (RFC 9110, section 13.1.1).

    Raises:
        Problem: 412, it is an ETag that we never gave.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'\s*"(\d{1,18})"\s*', if_match)
    if found is None:
        raise Problem(412, "If-Match is no ETag of a conversation", kind="changed-meanwhile")
    return int(found[1])
