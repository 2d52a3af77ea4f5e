"""Settings that people change while the site runs."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,99}$", examples=["chat.default_model"])]


class Setting(BaseModel):
    """A value of the site."""

    key: Key
    value: Annotated[Any, Field(description="any JSON", examples=["llama3.2:3b"])]
    revision: Annotated[int, Field(description="counts its changes; the ETag of the setting", examples=[1])]
    updated_at: datetime.datetime


class NewValue(BaseModel):
    """What it shall be."""

    model_config = ConfigDict(extra="forbid")

    value: Annotated[Any, Field(description="any JSON of at most 16 KiB", examples=["llama3.2:3b"])]
