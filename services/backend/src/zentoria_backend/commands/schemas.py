"""Commands to the assistant and to workflows, as clients send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from zentoria_backend.approvals.schemas import Approval

EffectKind = Literal["read", "write", "send", "destroy"]


class Command(BaseModel):
    """Something for the assistant to do."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[
        str,
        Field(
            min_length=1, max_length=20_000, pattern=r"^[^\x00]*$", examples=["Move invoice.pdf to the project Norway"]
        ),
    ]
    attachments: Annotated[list[UUID], Field(max_length=20, description="files that it is about", examples=[[]])] = []
    conversation_id: Annotated[UUID | None, Field(examples=[None])] = None


class Entity(BaseModel):
    """A thing that the text names."""

    model_config = ConfigDict(extra="ignore")

    kind: Annotated[str, Field(examples=["file"])]
    text: str
    start: int
    end: int
    value: Any = None


class Done(BaseModel):
    """One call of a tool: what came of it, what waits for your approval, or why it cannot be done."""

    tool: Annotated[str, Field(examples=["files_move"])]
    arguments: dict[str, Any]
    effect: EffectKind
    why: str = ""
    result: Annotated[Any, Field(description="of a tool that reads")] = None
    approval: Annotated[Approval | None, Field(description="of one that changes something")] = None
    error: Annotated[dict[str, Any] | None, Field(description="a problem (RFC 9457)")] = None


class CommandAnswer(BaseModel):
    """What the assistant understood, and what it did or would do."""

    intent: Annotated[str | None, Field(description="null: none of those that it knows", examples=["file.move"])]
    confidence: float = 0.0
    entities: list[Entity] = []
    agent: str | None = None
    say: str = ""
    missing: Annotated[list[str], Field(description="what has to be said yet")] = []
    calls: list[Done] = []


class Mail(BaseModel):
    """An e-mail to be sent."""

    to: list[str]
    subject: str
    body: str
    attachments: list[UUID] = []


class WorkflowStart(BaseModel):
    """A workflow to start."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: Annotated[UUID, Field(examples=["0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"])]
    input: Annotated[dict[str, Any], Field(examples=[{"month": "2026-11"}])] = {}


class Accepted(BaseModel):
    """What the other container answered."""

    model_config = ConfigDict(extra="allow")
