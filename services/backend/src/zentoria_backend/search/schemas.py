"""What a search finds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from zentoria_backend.conversations.schemas import Hit
from zentoria_backend.documents.schemas import PassageHit
from zentoria_backend.files.schemas import File


class Found(BaseModel):
    """What has the words, or means what they mean."""

    files: Annotated[list[File], Field(description="by their names; none without the scope files:read")]
    passages: Annotated[list[PassageHit], Field(description="of documents, the best first")]
    messages: Annotated[list[Hit], Field(description="of conversations; none without the scope chat:read")]
    supported: Annotated[bool, Field(description="whether the documents have something to say on it")] = True
    understood: Annotated[dict[str, Any], Field(description="what of the words was taken as a filter")] = {}
    missing: Annotated[
        list[str], Field(description="containers that are away: nothing of theirs is here", examples=[["embeddings"]])
    ] = []
