"""Answers as clients ask for them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zentoria_backend.conversations.schemas import Content, ModelName
from zentoria_backend.files.schemas import Project

Documents = Literal["auto", "always", "never"]


class NewAnswer(BaseModel):
    """A question, and how it shall be answered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"content": "When do the fjords thaw?", "documents": "auto"}]},
    )

    content: Annotated[Content | None, Field(description="what you say; not with `retry_of`")] = None
    documents: Annotated[
        Documents,
        Field(description="whether it goes by your documents: where they have something to say, always, or never"),
    ] = "auto"
    model: Annotated[ModelName | None, Field(description="one of `/api/v1/models`", examples=[None])] = None
    project: Annotated[Project | None, Field(description="only documents of this project", examples=[None])] = None
    attachments: Annotated[
        list[UUID], Field(max_length=20, description="files that the question is about", examples=[[]])
    ] = []
    parent: Annotated[
        UUID | None, Field(description="the message that it follows; without it, the newest", examples=[None])
    ] = None
    root: Annotated[bool, Field(description="it follows none: another beginning of the conversation")] = False
    retry_of: Annotated[
        UUID | None, Field(description="an answer whose question is answered once more", examples=[None])
    ] = None

    @model_validator(mode="after")
    def _one_question(self) -> NewAnswer:
        if (self.content is None) == (self.retry_of is None):
            raise ValueError("either content or retry_of")
        if self.root and self.parent is not None:
            raise ValueError("either parent or root")
        if self.retry_of is not None and (self.parent is not None or self.root or self.attachments):
            raise ValueError("retry_of stands alone: the question stays as it is")
        return self


class Begun(BaseModel):
    """An answer that is being written."""

    message_id: Annotated[UUID, Field(description="the question")]
    answer_id: Annotated[UUID, Field(description="the message that the answer becomes")]
