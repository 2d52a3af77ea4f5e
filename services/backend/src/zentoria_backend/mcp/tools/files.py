"""The user's files."""

from __future__ import annotations

import codecs
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field
from zentoria_common.problems import Problem

from zentoria_backend.files import service
from zentoria_backend.files.schemas import File
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, Words, under_approval
from zentoria_backend.paging import Page

MOST_BYTES = 256 * 1024
"""Of one call of files_read: what a model can take in at once, and more."""


class Text(BaseModel):
    """A part of a text file."""

    file_id: UUID
    filename: str
    mime_type: str
    size: Annotated[int, Field(description="of the whole file, in bytes")]
    start: Annotated[int, Field(description="where the text begins, in bytes")]
    next_start: Annotated[int | None, Field(description="give it as start to read on; null at the end")]
    text: str


async def files_list(ctx: Ctx, limit: Limit = 20, cursor: Cursor = None) -> Page[File]:
    """List the user's files, the newest first."""
    here = call(ctx)
    return await service.list_files(here.services, here.principal, limit, cursor)


async def files_search(ctx: Ctx, words: Words, limit: Limit = 20, cursor: Cursor = None) -> Page[File]:
    """Find files by words of their names, the newest first."""
    here = call(ctx)
    return await service.search_files(here.services, here.principal, words, limit, cursor)


async def files_get(ctx: Ctx, file_id: UUID) -> File:
    """Say what is known of a file: name, size, type, SHA-256, version, tags."""
    here = call(ctx)
    return await service.get_file(here.services, here.principal, file_id)


async def files_read(
    ctx: Ctx,
    file_id: UUID,
    start: Annotated[int, Field(ge=0, description="where to begin, in bytes: 0 or next_start")] = 0,
    length: Annotated[int, Field(ge=16, le=MOST_BYTES, description="how many bytes at most")] = 64 * 1024,
) -> Text:
    """Read a text file, or a part of it. Other files are not read but described: use files_get."""
    here = call(ctx)
    content, data = await service.read_range(here.services, here.principal, file_id, start, length)
    end = start + len(data)
    text, end = decoded(data, end, last=end >= content.size)
    return Text(
        file_id=file_id,
        filename=content.filename,
        mime_type=content.mime_type,
        size=content.size,
        start=start,
        next_start=end if end < content.size else None,
        text=text,
    )


def decoded(data: bytes, end: int, *, last: bool) -> tuple[str, int]:
    """The text of some bytes, and where the next begins: a character that was cut through is left to it.

    Raises:
        Problem: 422, it is no UTF-8 text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data, final=last)
    except UnicodeDecodeError:
        raise Problem(422, "the file is no UTF-8 text at this place") from None
    if "\0" in text:
        raise Problem(422, "the file is no text")
    return text, end - len(decoder.getstate()[0])


async def files_delete(ctx: Ctx, file_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Delete a file. The user has to approve it first, and can bring it back for some days."""
    here = call(ctx)
    there = await service.get_file(here.services, here.principal, file_id)
    return await under_approval(
        here,
        "files_delete",
        {"file_id": str(file_id)},
        approval_id,
        str(there.revision),
        lambda: service.delete_file(here.services, here.principal, file_id, f'"{there.revision}"'),
    )


OFFERS = (
    Offer("files_delete", "Delete a file", files_delete, kind="changes"),
    Offer("files_get", "Describe a file", files_get),
    Offer("files_list", "List files", files_list),
    Offer("files_read", "Read a text file", files_read),
    Offer("files_search", "Find files by name", files_search),
)
