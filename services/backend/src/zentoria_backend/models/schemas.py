"""Models as clients see them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """A model that may answer, and whether it is there."""

    model_config = ConfigDict(extra="allow")

    id: Annotated[str, Field(examples=["llama3.2-8k"])]
    state: Annotated[str, Field(description="ready, fetching, failed, ...", examples=["ready"])] = "ready"
    progress: Annotated[float | None, Field(description="of its fetching, from 0 to 1")] = None
    external: Annotated[bool, Field(description="what is said to it leaves the house")] = False
    default: Annotated[bool, Field(description="it answers where none is named")] = False


class Models(BaseModel):
    """All of them."""

    items: list[Model]
