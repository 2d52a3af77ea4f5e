"""What the routes work with, made once."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import redis.asyncio
from fastapi import Depends, Request
from zentoria_common.engine import EngineClient
from zentoria_common.identity import Identity, OnBehalf
from zentoria_common.problems import Problem
from zentoria_common.redis import make_redis

from zentoria_ai.answers.cache import AnswerCache
from zentoria_ai.answers.prompts import Prompts
from zentoria_ai.answers.service import Answers, Limits
from zentoria_ai.answers.slots import Slots
from zentoria_ai.engine.external import PROVIDERS, Engines, ExternalEngine
from zentoria_ai.engine.model import Engine
from zentoria_ai.intents.classifier import Classifier
from zentoria_ai.intents.service import SHIPPED, Understanding
from zentoria_ai.meaning.embedder import Embedder
from zentoria_ai.plans.proposing import ModelProposer
from zentoria_ai.plans.service import Planner
from zentoria_ai.retrieval.client import Retrieval, RetrievalClient
from zentoria_ai.settings import Secrets, Settings, load_api_keys


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything that is open."""

    settings: Settings
    redis: redis.asyncio.Redis
    engine: Engine
    engines: Engines
    retrieval: Retrieval | None
    understanding: Understanding
    answers: Answers
    planner: Planner
    proposer: ModelProposer
    slots: Slots

    async def close(self) -> None:
        """Close all connections but Redis's, which its probe closes."""
        await self.engines.close()
        await self.proposer.close()
        if self.retrieval is not None:
            await self.retrieval.close()


def make_services(settings: Settings, secrets: Secrets, identity: Identity | None) -> Services:
    """Make them. Nothing connects yet.

    Raises:
        ModelError: the classifier of this release cannot be read.
    """
    client = make_redis(settings, secrets.redis_password)
    engine = EngineClient(settings.engine_url, first=settings.first_token_timeout, stall=settings.stall_timeout)
    outside = {
        name: ExternalEngine(PROVIDERS[name], key, first=settings.first_token_timeout, stall=settings.stall_timeout)
        for name, key in load_api_keys(settings).items()
    }
    engines = Engines(engine, outside, settings.external_models)
    retrieval = RetrievalClient(settings.rag_url, identity, settings.search_timeout) if settings.rag_url else None
    embedder = Embedder(settings.models_folder / settings.embedding_model)
    understanding = Understanding(Classifier.read(SHIPPED), embedder)
    prompts = Prompts(settings.prompts_folder)
    answers = Answers(
        engines.of,
        retrieval,
        prompts,
        AnswerCache(client, settings.container_name, settings.cache_seconds),
        understanding,
        settings.chat_model,
        Limits(settings.context_tokens, settings.answer_tokens),
    )
    proposer = ModelProposer(
        settings.engine_url, settings.chat_model, prompts, client, settings.container_name, settings.plan_timeout
    )
    slots = Slots(settings.concurrent_answers, settings.concurrent_answers_user)
    return Services(
        settings,
        client,
        engine,
        engines,
        retrieval,
        understanding,
        answers,
        Planner(understanding, proposer),
        proposer,
        slots,
    )


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _user(request: Request) -> OnBehalf:
    """The user for whom the gateway asks.

    Raises:
        Problem: 403, it did not say.
    """
    found: OnBehalf | None = request.state.on_behalf
    if found is None:
        raise Problem(403, "this route acts for a user, and the caller did not say for whom", kind="user-missing")
    return found


ServicesDep = Annotated[Services, Depends(_services)]
User = Annotated[OnBehalf, Depends(_user)]
