"""The user's documents as resources: ``zentoria://files/<id>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from zentoria_common.problems import Problem

from zentoria_backend.files import service
from zentoria_backend.mcp.call import Call, call
from zentoria_backend.mcp.tools.kit import Ctx

PREFIX = "zentoria://files/"
TOOL = "files_read"
"""Whoever may call it may read a document."""
PAGE = 100
MOST_BYTES = 1024 * 1024
"""Of a document that is read whole. Larger ones are read in parts, or over REST."""


def add_to(server: MCPServer[Any]) -> None:
    """Put the template into a server; the list is made for each caller (:func:`listed`)."""

    @server.resource(
        PREFIX + "{file_id}", name="document", title="A document", description="One of the user's files, up to 1 MiB"
    )
    async def document(file_id: str, ctx: Ctx) -> str | bytes:
        here = call(ctx)
        try:
            content, data = await service.read_range(here.services, here.principal, UUID(file_id), 0, MOST_BYTES)
        except (Problem, ValueError) as refusal:
            if isinstance(refusal, Problem) and refusal.status != 404:
                raise ResourceError(refusal.detail) from None
            raise ResourceNotFoundError("there is no such document") from None
        if content.size > MOST_BYTES:
            raise ResourceError(f"the document is larger than {MOST_BYTES} bytes: read it in parts with {TOOL}")
        here.mime_type = content.mime_type
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data


async def listed(call: Call, parameters: Mapping[str, Any] | None, result: dict[str, Any]) -> dict[str, Any]:
    """Put a page of the caller's documents into a list of resources; none, where the credential may not read them.

    Raises:
        MCPError: the cursor is none of this list.
    """
    if not call.services.access.tool_allowed(call.principal, TOOL):
        return result
    cursor = (parameters or {}).get("cursor")
    try:
        page = await service.list_files(
            call.services, call.principal, PAGE, cursor if isinstance(cursor, str) else None
        )
    except Problem as refusal:
        raise MCPError(INVALID_PARAMS, refusal.detail) from None
    documents = [
        {
            "uri": f"{PREFIX}{file.id}",
            "name": file.filename,
            "mimeType": file.mime_type,
            "size": file.size,
            "annotations": {"lastModified": file.updated_at.isoformat()},
        }
        for file in page.items
    ]
    result["resources"] = documents if cursor else [*result["resources"], *documents]
    if page.next_cursor is not None:
        result["nextCursor"] = page.next_cursor
    return result
