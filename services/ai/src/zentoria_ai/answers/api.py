"""``POST /v1/answers`` and ``GET /v1/models``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel
from zentoria_common.engine import EngineError
from zentoria_common.problems import Problem, Unavailable, answers

from zentoria_ai.answers.schemas import Question
from zentoria_ai.answers.service import Who
from zentoria_ai.services import ServicesDep, User
from zentoria_ai.streams.ndjson import MEDIA_TYPE, NdjsonResponse

router = APIRouter(tags=["answers"])


class ChatModel(BaseModel):
    """A model that answers can be made with."""

    id: str
    state: str
    progress: float | None = None
    default: bool = False
    external: bool = False
    """Whether text leaves the house when it is chosen."""


class ChatModels(BaseModel):
    """All of them."""

    data: list[ChatModel]


ForRetrieval = Annotated[
    str | None,
    Header(
        alias="Zentoria-User-For-Embeddings",
        max_length=4096,
        description="the gateway's word for the same user, made for retrieval's container; without it no documents",
    ),
]


@router.post(
    "/v1/answers",
    summary="Answer a question, event by event",
    response_class=NdjsonResponse,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **answers(403, 429)},
)
async def answer(
    body: Question, user: User, services: ServicesDep, for_retrieval: ForRetrieval = None
) -> NdjsonResponse:
    """One JSON object a line: `status`, `delta`, `citation`, `dropped`, and at last `done` or `error`.

    Who closes the connection ends the generation.
    """
    if body.messages[-1].role != "user" or not body.messages[-1].content.strip():
        raise Problem(422, "the last message is the question: it is the user's, and not empty")
    give_back = services.slots.take(user.user_id)  # not in the stream: who gets no place is told by the status
    return NdjsonResponse(services.answers.answer(body, Who(user.user_id, for_retrieval)), give_back)


@router.get("/v1/models", summary="List the models that answers can be made with", responses=answers(503))
async def models(services: ServicesDep) -> ChatModels:
    """What the engine has or is fetching; models of others only where they are switched on."""
    settings = services.settings
    try:
        found = await services.engine.models()
    except EngineError as error:
        raise Unavailable("engine", str(error)) from None
    listed = [
        ChatModel(id=one.id, state=one.state, progress=one.progress, default=one.id == settings.chat_model)
        for one in found
        if one.id != settings.embedding_model
    ]
    others = [ChatModel(id=name, state="ready", external=True) for name in settings.external_models]
    return ChatModels(data=[*listed, *others])
