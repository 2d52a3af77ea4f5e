"""What the routes work with: made once for an application, and handed to each request."""

from __future__ import annotations

import dataclasses
from typing import Annotated, cast

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from zentoria_common.database import Database, make_engine
from zentoria_common.problems import Problem

from zentoria_rag.documents.ingest import Ingest
from zentoria_rag.documents.objects import Objects
from zentoria_rag.documents.repository import Repository
from zentoria_rag.documents.service import Documents
from zentoria_rag.index.model import Owner, VectorIndex
from zentoria_rag.index.pgvector import PgVectorIndex
from zentoria_rag.messages.service import Messages
from zentoria_rag.models.embedder import Embedder, Embeds, open_engine
from zentoria_rag.models.space import Announced, wanted
from zentoria_rag.search.service import Search
from zentoria_rag.search.support import Support
from zentoria_rag.settings import Secrets, Settings

NAME = "zentoria-rag"
STATEMENT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything that a route may use. Nothing in it connects before it is used."""

    settings: Settings
    database: Database
    repository: Repository
    objects: Objects
    announced: Announced
    embedder: Embedder
    index: VectorIndex
    documents: Documents
    search: Search
    messages: Messages

    async def close(self) -> None:
        """Give connections back."""
        await self.embedder.close()
        await self.index.close()
        await self.database.close()


def make_services(
    settings: Settings,
    secrets: Secrets,
    *,
    engine: Embeds | None = None,
    index: VectorIndex | None = None,
    statement_timeout: float = STATEMENT_SECONDS,
) -> Services:
    """Make them from the settings.

    Args:
        settings: the service's.
        secrets: its passwords.
        engine: in place of the settings' one.
        index: likewise.
        statement_timeout: seconds that a statement may take.
    """
    database = Database(
        make_engine(settings, secrets.database_password, application=NAME), statement_timeout=statement_timeout
    )
    repository = Repository(database)
    objects = Objects(settings, secrets.s3_secret_key)
    announced = Announced(database, wanted(settings))
    embedder = Embedder(engine or open_engine(settings), settings)
    found = index or _index(settings, database)
    ingest = Ingest(settings, repository, objects, announced, embedder, found)
    return Services(
        settings=settings,
        database=database,
        repository=repository,
        objects=objects,
        announced=announced,
        embedder=embedder,
        index=found,
        documents=Documents(repository, found, announced, ingest, settings.ingests),
        search=Search(
            repository, found, embedder, announced, Support(settings.supported_bound, settings.supported_words)
        ),
        messages=Messages(settings, database, announced, embedder),
    )


def _index(settings: Settings, database: Database) -> VectorIndex:
    if settings.index_kind == "pgvector":
        return PgVectorIndex(database)
    from zentoria_rag.index.qdrant import open_qdrant  # its client is large

    return open_qdrant(settings.qdrant_url, settings.dependency_timeout * 5)


def services_of(holder: HTTPConnection | FastAPI) -> Services:
    """The services of an application, or of the one that a request came to."""
    app = holder if isinstance(holder, FastAPI) else holder.app
    return cast(Services, app.state.services)


async def _of_request(connection: HTTPConnection) -> Services:  # FastAPI runs a plain function in a thread
    return services_of(connection)


async def _owner(connection: HTTPConnection) -> Owner:
    """Whose request it is: the gateway said so, in a token for this container."""
    on_behalf = connection.state.on_behalf
    if on_behalf is None:
        raise Problem(403, "documents are somebody's: this needs Zentoria-User", kind="user-missing")
    return Owner(on_behalf.user_id)


ServicesDep = Annotated[Services, Depends(_of_request)]
OwnerDep = Annotated[Owner, Depends(_owner)]
