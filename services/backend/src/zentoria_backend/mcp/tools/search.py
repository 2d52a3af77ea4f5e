"""One search over what the user has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Limit, Offer, Words
from zentoria_backend.search import service
from zentoria_backend.search.schemas import Found


async def search(
    ctx: Ctx,
    words: Words,
    limit: Limit = 10,
    project: Annotated[str | None, Field(max_length=100, pattern=r"^[^\x00]*$")] = None,
) -> Found:
    """Search the user's files by name, documents and conversations by their words and by what they mean."""
    here = call(ctx)
    return await service.search(here.services, here.principal, words, limit, project=project)


OFFERS = (Offer("search", "Search", search),)
