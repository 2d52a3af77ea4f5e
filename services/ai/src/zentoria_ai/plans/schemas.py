"""A request to be planned, and the plan: calls that the gateway judges and carries out, or not."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from zentoria_ai.answers.schemas import Text
from zentoria_ai.entities.schemas import Entity
from zentoria_ai.intents.schemas import Sentence, Zone

Effect = Literal["read", "write", "send", "destroy"]
AgentName = Literal["file", "email", "apikey", "workflow", "security", "chat"]


class Tool(BaseModel):
    """A tool that the caller may use, as the gateway offers it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]
    description: Annotated[str, Field(max_length=4000)] = ""
    input_schema: dict[str, Any] = {}
    effect: Effect
    scopes: Annotated[list[str], Field(max_length=50)] = []

    @property
    def properties(self) -> dict[str, Any]:
        """Its arguments by name."""
        found = self.input_schema.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of those that it cannot do without."""
        found = self.input_schema.get("required")
        return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


class Attachment(BaseModel):
    """A file that comes with the request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file_id: UUID
    filename: Annotated[str, Field(max_length=1000)] = ""


class Said(BaseModel):
    """A turn before the request. Only the user's and the assistant's are trusted: all others are data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["user", "assistant", "tool", "document", "web", "system"]
    content: Text


class Context(BaseModel):
    """What is known beside the request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    now: AwareDatetime | None = None
    time_zone: Zone | None = None
    attachments: Annotated[list[Attachment], Field(max_length=50)] = []
    conversation: Annotated[list[Said], Field(max_length=200)] = []
    tainted: bool = False
    """Whether text of documents, mails, or the web is among what led to this request, as the gateway knows."""


class Request(BaseModel):
    """What a user wants done."""

    model_config = ConfigDict(extra="ignore")

    text: Sentence
    tools: Annotated[list[Tool], Field(max_length=200)] = []
    context: Context = Context()
    model: bool = True
    """Whether a language model may be asked where rules do not suffice."""


class Call(BaseModel):
    """A call that is proposed. Nothing was done."""

    tool: str
    arguments: dict[str, Any]
    effect: Effect
    why: str
    tainted: bool = False


class Plan(BaseModel):
    """What is proposed, or asked back."""

    intent: str | None
    confidence: float
    entities: list[Entity]
    agent: AgentName
    say: str
    calls: list[Call]
    missing: list[str]
    tainted: bool
    by: Literal["rules", "model"] = "rules"
