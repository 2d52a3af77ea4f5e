"""One search over what the user has."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from zentoria_backend.conversations import service as conversations
from zentoria_backend.conversations.schemas import Hit
from zentoria_backend.files import service as files
from zentoria_backend.files.schemas import File
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import Ctx, Limit, Offer, Words


class Found(BaseModel):
    """What has the words."""

    files: Annotated[list[File], Field(description="by their names")]
    messages: Annotated[list[Hit], Field(description="of conversations; none without the scope chat:read")]


async def search(ctx: Ctx, words: Words, limit: Limit = 10) -> Found:
    """Search the names of the user's files and what was said in conversations, the newest first."""
    here = call(ctx)
    messages: list[Hit] = []
    if "chat:read" in here.principal.scopes:
        messages = (await conversations.search(here.services, here.principal, words, limit)).items
    return Found(files=(await files.search_files(here.services, here.principal, words, limit)).items, messages=messages)


OFFERS = (Offer("search", "Search", search),)
