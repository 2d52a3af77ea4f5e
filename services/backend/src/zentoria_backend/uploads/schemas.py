"""Uploads as clients see them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from zentoria_backend.jobs.schemas import Job


@dataclasses.dataclass(frozen=True)
class NewUpload:
    """What a client says of a file before its bytes.

    Args:
        filename: fit to be kept (``contents.clean_name``).
        mime_type: as declared.
        replaces: the file that gets a new version; None: it becomes a file.
        sha256: what the content has to have.
        size: in bytes, where it is known.
    """

    filename: str
    mime_type: str | None = None
    replaces: UUID | None = None
    sha256: bytes | None = None
    size: int | None = None


class Accepted(BaseModel):
    """All bytes are kept; the job makes a file of them."""

    upload_id: UUID
    size: Annotated[int, Field(description="bytes")]
    sha256: Annotated[str | None, Field(description="of the content; null: the job computes it")] = None
    job: Job


class Upload(BaseModel):
    """An upload, on its way or at its end."""

    id: UUID
    state: Literal["open", "received", "done", "failed", "aborted"]
    filename: str
    size: int | None
    received: int
    created_at: datetime.datetime
    expires_at: datetime.datetime
    job_id: UUID | None = None
    file_id: UUID | None = None
    error: dict[str, Any] | None = None
