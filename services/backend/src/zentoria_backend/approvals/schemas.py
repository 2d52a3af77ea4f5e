"""Approvals as people and tools see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

State = Literal["pending", "approved", "denied", "used", "expired"]


class Effect(BaseModel):
    """One thing that will be otherwise."""

    what: Annotated[str, Field(examples=["file"])]
    where: Annotated[str, Field(description="its name, as its owner knows it", examples=["Invoice 2026-11.pdf"])]
    before: Annotated[Any, Field(examples=[{"project": None}])] = None
    after: Annotated[Any, Field(examples=[{"project": "Norway"}])] = None


class Approval(BaseModel):
    """Leave to do one thing once, asked for or given."""

    id: Annotated[UUID, Field(examples=["0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"])]
    state: State
    tool: Annotated[str, Field(examples=["files_delete"])]
    arguments: Annotated[dict[str, Any], Field(examples=[{"file_id": "0198c1f2-0000-4000-8000-000000000000"}])]
    target_revision: Annotated[
        str | None, Field(description="of what it changes, when it was asked for", examples=["7"])
    ]
    actor: Annotated[str, Field(description="the credential that asked", examples=["oauth:https://client.example/mcp"])]
    digest: Annotated[
        str,
        Field(description="SHA-256 of tool, arguments, revision, actor, user and expiry", pattern="^[0-9a-f]{64}$"),
    ]
    created_at: datetime.datetime
    expires_at: datetime.datetime
    decided_at: datetime.datetime | None
    used_at: datetime.datetime | None
    reason: str | None
    title: Annotated[str, Field(description="what it will do, for people", examples=["Delete Invoice.pdf"])] = ""
    effects: Annotated[list[Effect], Field(description="what will be otherwise")] = []
    carrier: Annotated[
        Literal["client", "gateway"],
        Field(description="who does it: the client by calling again, or the gateway as soon as it is approved"),
    ] = "client"
    result: Annotated[
        dict[str, Any] | None,
        Field(description="what came of it; a secret (a new key) is in the answer to the decision and nowhere else"),
    ] = None


class Denial(BaseModel):
    """Why not."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str | None, Field(max_length=500, pattern=r"^[^\x00]*$", examples=["I need that file"])] = None
