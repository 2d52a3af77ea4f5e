"""The user's files."""

from __future__ import annotations

import codecs
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field
from zentoria_common.problems import Problem

from zentoria_backend.approvals.schemas import Effect
from zentoria_backend.files import service
from zentoria_backend.files.schemas import File, FileChange, FileName, Tag
from zentoria_backend.mcp.call import call
from zentoria_backend.mcp.tools.kit import ApprovalId, Ctx, Cursor, Limit, Offer, Outcome, Words, under_approval
from zentoria_backend.paging import Page

ProjectName = Annotated[str, Field(max_length=100, pattern=r"^(|[^\s\x00-\x1f][^\x00-\x1f]{0,99})$")]
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
        title=f"Delete {there.filename}",
        effects=[
            Effect(
                what="file",
                where=there.filename,
                before={"size": there.size, "project": there.project, "tags": there.tags},
                after="deleted; it can be brought back for some days",
            )
        ],
    )


async def files_restore(ctx: Ctx, file_id: UUID, approval_id: ApprovalId = None) -> Outcome:
    """Bring a deleted file back. The user has to approve it first."""
    here = call(ctx)
    there = await service.get_file(here.services, here.principal, file_id)
    return await under_approval(
        here,
        "files_restore",
        {"file_id": str(file_id)},
        approval_id,
        str(there.revision),
        lambda: service.restore_file(here.services, here.principal, file_id),
        title=f"Bring {there.filename} back",
        effects=[Effect(what="file", where=there.filename, before="deleted", after="there")],
    )


async def files_move(ctx: Ctx, file_id: UUID, project: ProjectName, approval_id: ApprovalId = None) -> Outcome:
    """Put a file into a project; an empty name takes it out of its project. The user has to approve it first."""
    change = FileChange(project=project)
    return await _change(ctx, "files_move", file_id, {"project": project}, change, approval_id, "Move {0} to {1}")


async def files_rename(ctx: Ctx, file_id: UUID, filename: FileName, approval_id: ApprovalId = None) -> Outcome:
    """Give a file another name. The user has to approve it first."""
    change = FileChange(filename=filename)
    return await _change(ctx, "files_rename", file_id, {"filename": filename}, change, approval_id, "Rename {0} to {1}")


async def files_tag(
    ctx: Ctx, file_id: UUID, tags: Annotated[list[Tag], Field(max_length=50)], approval_id: ApprovalId = None
) -> Outcome:
    """Set all tags of a file. The user has to approve it first."""
    change = FileChange(tags=tags)
    return await _change(ctx, "files_tag", file_id, {"tags": sorted(set(tags))}, change, approval_id, "Tag {0}: {1}")


async def _change(
    ctx: Ctx,
    tool: str,
    file_id: UUID,
    after: dict[str, Any],
    change: FileChange,
    approval_id: UUID | None,
    title: str,
) -> Outcome:
    here = call(ctx)
    there = await service.get_file(here.services, here.principal, file_id)
    value = next(iter(after.values()))
    shown = ", ".join(value) if isinstance(value, list) else value
    return await under_approval(
        here,
        tool,
        {"file_id": str(file_id), **after},
        approval_id,
        str(there.revision),
        lambda: service.change_file(here.services, here.principal, file_id, change, f'"{there.revision}"'),
        title=title.format(there.filename, shown or "no project"),
        effects=[
            Effect(
                what="file",
                where=there.filename,
                before={name: getattr(there, name) for name in after},
                after=after,
            )
        ],
    )


class Uploaded(BaseModel):
    """Files that were put into a project."""

    files: list[File]


async def files_upload(
    ctx: Ctx,
    file_ids: Annotated[list[UUID], Field(min_length=1, max_length=20, description="files that were uploaded")],
    project: ProjectName,
    approval_id: ApprovalId = None,
) -> Outcome:
    """Put files that were just uploaded into a project. The user has to approve it first."""
    here = call(ctx)
    there = [await service.get_file(here.services, here.principal, one) for one in dict.fromkeys(file_ids)]
    names = [one.filename for one in there]

    async def change() -> Uploaded:
        wanted = FileChange(project=project)
        return Uploaded(
            files=[
                await service.change_file(here.services, here.principal, one.id, wanted, f'"{one.revision}"')
                for one in there
            ]
        )

    return await under_approval(
        here,
        "files_upload",
        {"file_ids": [str(one.id) for one in there], "project": project},
        approval_id,
        ",".join(str(one.revision) for one in there),
        change,
        title=f"Put {', '.join(names[:3])}{' and more' if len(names) > 3 else ''} into {project}",
        effects=[
            Effect(what="file", where=one.filename, before={"project": one.project}, after={"project": project})
            for one in there
        ],
    )


OFFERS = (
    Offer("files_delete", "Delete a file", files_delete, kind="changes", effect="destroy"),
    Offer("files_get", "Describe a file", files_get),
    Offer("files_list", "List files", files_list),
    Offer("files_move", "Move a file to a project", files_move, kind="changes"),
    Offer("files_read", "Read a text file", files_read),
    Offer("files_rename", "Rename a file", files_rename, kind="changes"),
    Offer("files_restore", "Bring a file back", files_restore, kind="changes"),
    Offer("files_search", "Find files by name", files_search),
    Offer("files_tag", "Tag a file", files_tag, kind="changes"),
    Offer("files_upload", "Put uploads into a project", files_upload, kind="changes"),
)
