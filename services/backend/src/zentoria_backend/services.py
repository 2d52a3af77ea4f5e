"""What the domains work with: made once for an application, and handed to each request."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Callable
from typing import Annotated, cast

import httpx2
import redis.asyncio
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from zentoria_common import siblings
from zentoria_common.database import Database, make_engine
from zentoria_common.identity import Identity
from zentoria_common.redis import make_redis

from zentoria_backend.access.audit import Recorder
from zentoria_backend.access.service import Access
from zentoria_backend.access.tokens import KeyCache, TokenVerifier
from zentoria_backend.answers.runs import BLOCK_SECONDS, Runs
from zentoria_backend.auth.client import AuthClient
from zentoria_backend.callees.service import Callees
from zentoria_backend.events.clients import Clients
from zentoria_backend.events.hub import Hub
from zentoria_backend.files.store import ObjectStore
from zentoria_backend.jobs.queue import DOCUMENTS, Queue
from zentoria_backend.limits.service import Limiter
from zentoria_backend.settings import Secrets, Settings

NAME = "zentoria-backend"


def utc_now() -> datetime.datetime:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything that a route may use. Nothing in it connects before it is used."""

    settings: Settings
    database: Database
    redis: redis.asyncio.Redis
    access: Access
    audit: Recorder
    limiter: Limiter
    callees: Callees
    auth: AuthClient
    hub: Hub
    answers: Runs
    stream_clients: Clients
    files: ObjectStore
    jobs: Queue
    clock: Callable[[], datetime.datetime] = utc_now

    @property
    def prefix(self) -> str:
        """What the keys of this service at Redis begin with, without the colon."""
        return self.settings.container_name

    @property
    def origins(self) -> frozenset[str]:
        """Whose pages may open a WebSocket, and call ``/mcp``."""
        return frozenset({self.settings.public_url, *self.settings.cors_origins})

    async def close(self) -> None:
        """Finish what is being written, and give connections back."""
        await self.access.close()
        await self.audit.close()
        await self.callees.close()
        await self.files.close()
        await self.database.close()
        await self.answers.redis.aclose()
        await self.redis.aclose()


def make_services(
    settings: Settings,
    secrets: Secrets,
    *,
    identity: Identity | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Services:
    """Make them from the settings.

    Args:
        settings: the service's.
        secrets: its passwords.
        identity: its own, for calls to other containers.
        transport: for tests, in place of the network between containers.
    """
    here = siblings.current()
    database = Database(
        make_engine(settings, secrets.database_password, application=NAME), patience=settings.dependency_timeout
    )
    client = make_redis(settings, secrets.redis_password)
    callees = Callees(
        identity,
        {
            "ai": settings.ai_url,
            "auth": settings.auth_url,
            "embeddings": settings.rag_url,
            "n8n": settings.n8n_url,
            "ocr": settings.ocr_url,
            "voice": settings.voice_url,
        },
        timeout=settings.call_timeout,
        transport=transport,
    )
    auth = AuthClient(callees)
    tokens = TokenVerifier(KeyCache(auth.jwks), settings.public_url)
    return Services(
        settings=settings,
        database=database,
        redis=client,
        access=Access(database, tokens, settings.public_url, siblings=here),
        audit=Recorder(database),
        limiter=Limiter(client, settings.container_name, settings.quotas),
        callees=callees,
        auth=auth,
        hub=Hub(client, block=min(1.0, settings.dependency_timeout / 2)),
        answers=Runs(make_redis(settings, secrets.redis_password, blocking=BLOCK_SECONDS)),
        stream_clients=Clients(math.ceil(settings.max_websocket_clients / here.count)),
        files=ObjectStore(settings, secrets.s3_secret_key),
        jobs=_queue(settings, secrets, works=here.first),
    )


def _queue(settings: Settings, secrets: Secrets, *, works: bool) -> Queue:
    """The queue, and what works at which kind of job. These modules know the services, so they are asked for late."""
    from zentoria_backend.conversations import history
    from zentoria_backend.documents.forgetting import forget
    from zentoria_backend.documents.queueing import FORGET, READ, RELABEL
    from zentoria_backend.documents.reading import read
    from zentoria_backend.documents.service import relabel
    from zentoria_backend.jobs.ingest import ingest
    from zentoria_backend.uploads.service import INGEST

    return Queue(
        settings,
        secrets.database_password,
        {FORGET: forget, INGEST: ingest, READ: read},
        queues={FORGET: DOCUMENTS, READ: DOCUMENTS},
        works=works,
        chores={**history.CHORES, RELABEL: relabel},
    )


def services_of(holder: HTTPConnection | FastAPI) -> Services:
    """The services of an application, or of the one that a request came to."""
    app = holder if isinstance(holder, FastAPI) else holder.app
    return cast(Services, app.state.services)


async def _of_request(connection: HTTPConnection) -> Services:  # FastAPI runs a plain function in a thread
    return services_of(connection)


ServicesDep = Annotated[Services, Depends(_of_request)]
