"""API keys as clients see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$", examples=["backup script"])]
Scopes = Annotated[
    list[Annotated[str, Field(max_length=40, pattern=r"^[a-z]+:[a-z]+$")]],
    Field(min_length=1, max_length=50, examples=[["files:read", "files:write"]]),
]


class NewKey(BaseModel):
    """What a key is made of."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    scopes: Scopes
    expires_at: Annotated[
        AwareDatetime | None, Field(description="null: it does not expire", examples=["2027-01-01T00:00:00Z"])
    ] = None


class Key(BaseModel):
    """A key, without its secret."""

    id: Annotated[UUID, Field(examples=["0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"])]
    name: Name
    prefix: Annotated[str, Field(description="what the key begins with, after `zt_`", examples=["k3P9xQ2a"])]
    scopes: Scopes
    state: Literal["active", "expired", "revoked"]
    created_at: datetime.datetime
    expires_at: datetime.datetime | None
    last_used_at: Annotated[datetime.datetime | None, Field(description="to the minute")]
    revoked_at: datetime.datetime | None


class MadeKey(Key):
    """A key that was just made, with its secret, which is shown this once."""

    key: Annotated[str, Field(examples=["zt_k3P9xQ2a_1uW5v8Yb3kT0q7Zf6eR2mN9sXcJhLdGpAoIiUyEtWvB"])]
