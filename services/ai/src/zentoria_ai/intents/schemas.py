"""A sentence, and what it wants and names."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from zentoria_ai.entities.schemas import Entity


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no such time zone") from None
    return name


Zone = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$"), AfterValidator(_zone)]
"""A name of the IANA time zone database."""
Sentence = Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]


class Asked(BaseModel):
    """A sentence of a user, and when and where it was said."""

    model_config = ConfigDict(extra="ignore")

    text: Sentence
    now: AwareDatetime | None = None
    time_zone: Zone | None = None


class Alternative(BaseModel):
    """Another intent that it could be."""

    intent: str
    confidence: float


class Intent(BaseModel):
    """What a sentence wants; ``intent`` null: none of these."""

    intent: str | None
    confidence: float
    alternatives: list[Alternative]
    entities: list[Entity]


def local_now(now: datetime.datetime | None, zone: str | None) -> datetime.datetime:
    """The time that "today" is reckoned from."""
    found = now or datetime.datetime.now(datetime.UTC)
    return found.astimezone(zoneinfo.ZoneInfo(zone)) if zone else found
