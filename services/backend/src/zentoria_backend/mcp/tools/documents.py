"""What the user's documents say, and what recordings say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from zentoria_backend.answers import asking
from zentoria_backend.documents import service
from zentoria_backend.documents.schemas import PassageHit
from zentoria_backend.files import service as files
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Offer

Question = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
Few = Annotated[int, Field(ge=1, le=20, description="how many passages at most")]
ProjectOf = Annotated[str | None, Field(max_length=100, pattern=r"^[^\x00]*$", description="only of this project")]


class Passages(BaseModel):
    """Passages that a question is about."""

    hits: list[PassageHit]
    supported: Annotated[bool, Field(description="whether the documents have something to say on it")]


class Transcript(BaseModel):
    """What is said in a recording."""

    file_id: UUID
    filename: str
    text: str
    language: str | None = None


async def documents_search(ctx: Ctx, query: Question, limit: Few = 5, project: ProjectOf = None) -> Passages:
    """Find passages of the user's documents by what they say and mean, with file, page and place."""
    here = call(ctx)
    found = await service.search(here.services, here.principal, query, limit, project=project)
    return Passages(hits=found.hits, supported=found.supported)


async def ask(ctx: Ctx, question: Question, project: ProjectOf = None) -> asking.Answer:
    """Have a question answered from the user's documents, with citations; says so where they do not answer it."""
    here = call(ctx)
    return await asking.ask(here.services, here.principal, question, project)


async def transcribe(
    ctx: Ctx, file_id: UUID, language: Annotated[str | None, Field(pattern=r"^[a-z]{2,3}$")] = None
) -> Transcript:
    """Write down what is said in a recording that is one of the user's files."""
    here = call(ctx)
    content = await files.content_of(here.services, here.principal, file_id)
    chunks = await files.open_content(here.services, content, 0, content.size)
    told: Any = await asking.transcribed(here.services, here.principal, content, _every(chunks), language)
    return Transcript(
        file_id=file_id,
        filename=content.filename,
        text=str(told.get("text", "")),
        language=told.get("language"),
    )


async def _every(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for one in chunks:
        yield one


OFFERS = (
    Offer("ask", "Ask the documents", ask, planned=False),
    Offer("documents_search", "Search documents", documents_search),
    Offer("transcribe", "Write down a recording", transcribe),
)
