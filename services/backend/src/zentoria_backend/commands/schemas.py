"""Commands to the assistant and to workflows, as clients send them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Command(BaseModel):
    """Something for the assistant to do or to answer."""

    model_config = ConfigDict(extra="forbid")

    command: Annotated[
        str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$", examples=["Sum up my invoices"])
    ]
    conversation_id: Annotated[UUID | None, Field(examples=[None])] = None


class WorkflowStart(BaseModel):
    """A workflow to start."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: Annotated[UUID, Field(examples=["0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"])]
    input: Annotated[dict[str, Any], Field(examples=[{"month": "2026-11"}])] = {}


class Accepted(BaseModel):
    """What the other container answered."""

    model_config = ConfigDict(extra="allow")
