"""Speech as clients ask for it (OpenAI's form)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Speech(BaseModel):
    """A text to be spoken."""

    model_config = ConfigDict(extra="forbid")

    input: Annotated[
        str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$", examples=["The fjord thaws in May."])
    ]
    model: Annotated[str | None, Field(max_length=100, pattern=r"^[^\x00]*$", examples=[None])] = None
    voice: Annotated[str | None, Field(max_length=100, pattern=r"^[^\x00]*$", examples=[None])] = None
    language: Annotated[
        str | None,
        Field(pattern=r"^[a-z]{2,3}$", description="of the text; English where it is not said", examples=[None]),
    ] = None
    response_format: Literal["wav", "mp3", "opus", "flac"] = "wav"
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0
