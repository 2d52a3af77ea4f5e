"""``/api/v1/files``."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from zentoria_common.problems import Problem, answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.files import contents, ranges, service
from zentoria_backend.files.schemas import File, FileChange, FileVersion, ProjectCount
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import Services, ServicesDep

router = APIRouter(tags=["files"])

Words = Annotated[
    str | None, Query(max_length=200, description="words of the name, or how they begin", examples=["invoice 2026"])
]
IfMatch = Annotated[str | None, Header(max_length=100, description="the revision that is to be changed, quoted")]


@router.get("/api/v1/files", summary="List or search files")
async def list_files(
    principal: Caller,
    services: ServicesDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    q: Words = None,
    deleted: Annotated[bool, Query(description="those that can be brought back")] = False,
    project: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$", description="only of this one")] = None,
    tag: Annotated[str | None, Query(max_length=50, pattern=r"^[^\x00]*$", description="only with this one")] = None,
) -> Page[File]:
    """Your files, the newest first."""
    return await service.list_files(
        services, principal, limit, cursor, query=q, deleted=deleted, project=project, tag=tag
    )


@router.get("/api/v1/projects", summary="List projects")
async def list_projects(principal: Caller, services: ServicesDep) -> Page[ProjectCount]:
    """The projects that your files are of, by name."""
    return Page(items=await service.list_projects(services, principal))


@router.get("/api/v1/mcp/files", summary="List or search files")
async def list_files_too(
    principal: Caller,
    services: ServicesDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    q: Words = None,
) -> Page[File]:
    """The same list under the name that it has in the architecture."""
    return await service.list_files(services, principal, limit, cursor, query=q)


@router.get("/api/v1/files/{file_id}", summary="One file", responses=answers(404))
async def get_file(file_id: UUID, principal: Caller, services: ServicesDep, response: Response) -> File:
    """One of your files, a deleted one too."""
    return _tagged(response, await service.get_file(services, principal, file_id))


@router.patch("/api/v1/files/{file_id}", summary="Rename or tag a file", responses=answers(404, 412))
async def change_file(
    file_id: UUID,
    change: FileChange,
    principal: Caller,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> File:
    """Change its name or tags. With ``If-Match``, only if nobody changed it meanwhile."""
    return _tagged(response, await service.change_file(services, principal, file_id, change, if_match))


@router.delete("/api/v1/files/{file_id}", summary="Delete a file", responses=answers(404, 412))
async def delete_file(
    file_id: UUID,
    principal: Caller,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
    forever: Annotated[bool, Query(description="it cannot be brought back; nothing is left of it soon")] = False,
) -> File:
    """Delete a file. ``purge_after`` says until when ``POST .../restore`` brings it back."""
    return _tagged(response, await service.delete_file(services, principal, file_id, if_match, forever=forever))


@router.post("/api/v1/files/{file_id}/restore", summary="Bring a file back", responses=answers(404))
async def restore_file(file_id: UUID, principal: Caller, services: ServicesDep, response: Response) -> File:
    """Undo its deletion."""
    return _tagged(response, await service.restore_file(services, principal, file_id))


@router.get("/api/v1/files/{file_id}/versions", summary="Versions of a file", responses=answers(404))
async def list_versions(file_id: UUID, principal: Caller, services: ServicesDep) -> Page[FileVersion]:
    """Every content that it has or had, the newest first."""
    return Page(items=await service.list_versions(services, principal, file_id))


_CONTENT = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
DOWNLOADS: dict[int | str, dict[str, Any]] = {
    200: {"description": "All of it", **_CONTENT},
    206: {"description": "The part that `Range` asks for", **_CONTENT},
    304: {"description": "It is what `If-None-Match` says"},
    **answers(404, 416, e416="nothing of the file is in the range"),
}


@router.get(
    "/api/v1/files/{file_id}/content", summary="Download", response_class=StreamingResponse, responses=DOWNLOADS
)
async def download(
    file_id: UUID,
    request: Request,
    principal: Caller,
    services: ServicesDep,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="another one than the current")] = None,
) -> Response:
    """Its content, or a part of it (``Range``, one range of bytes). Always an attachment, whatever kind it is."""
    content = await service.content_of(services, principal, file_id, version)

    async def note(start: int, length: int) -> None:
        details = {"version": content.number, "start": start, "length": length}
        await services.audit.record(principal, "files.download", "file", str(file_id), details=details)

    return await sent(services, request, content, note)


async def sent(
    services: Services, request: Request, content: service.Content, note: Callable[[int, int], Awaitable[None]]
) -> Response:
    """A content, or the part of it that is asked for.

    Args:
        services: the gateway's.
        request: says which part, and what the client has already.
        content: which one.
        note: is told where a part begins and how long it is, before it is sent.

    Raises:
        Problem: 416, 503.
    """
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": contents.disposition(content.filename),
        "content-security-policy": "sandbox; default-src 'none'",
        "etag": content.etag,
        "x-accel-buffering": "no",  # the proxy need not keep what the client takes slowly
        "repr-digest": f"sha-256=:{_base64(content.sha256)}:",
    }
    asked = request.headers
    if content.etag in {one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")}:
        return Response(status_code=304, headers=headers)
    try:
        applies = ranges.applies(asked.get("if-range"), content.etag)
        span = ranges.span_of(asked.get("range"), content.size) if applies else None
    except ranges.Unsatisfiable:
        text = f"the file has {content.size} bytes"
        raise Problem(416, text, headers={"content-range": f"bytes */{content.size}"}) from None
    start, length = (span.start, span.length) if span else (0, content.size)
    headers["content-length"] = str(length)
    if span is not None:
        headers["content-range"] = span.header(content.size)
    body = await service.open_content(services, content, start, length)
    await note(start, length)
    return StreamingResponse(body, 206 if span else 200, headers=headers, media_type=content.mime_type)


def _tagged(response: Response, file: File) -> File:
    response.headers["etag"] = f'"{file.revision}"'
    return file


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()
