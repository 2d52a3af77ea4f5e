"""``/api/v1/audit``: who did what."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from zentoria_backend.access.gate import Caller
from zentoria_backend.audit import service
from zentoria_backend.audit.filters import Filters
from zentoria_backend.audit.schemas import Entry
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

MAX_EXPORT = 100_000
NDJSON = "application/x-ndjson"

router = APIRouter(tags=["audit"])


@router.get("/api/v1/audit", summary="Search the audit trail")
async def search(
    principal: Caller,
    services: ServicesDep,
    filters: Annotated[Filters, Depends()],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[Entry]:
    """Rows that fit, the newest first. An owner sees everybody's, others what they did themselves."""
    return await service.search(services, principal, filters, limit, cursor)


@router.get(
    "/api/v1/audit/export",
    summary="Export the audit trail",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "One JSON object a line."}},
)
async def export(
    principal: Caller,
    services: ServicesDep,
    after: Annotated[int, Query(ge=0, lt=2**63, description="id of the last row that you have")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EXPORT)] = MAX_EXPORT,
) -> StreamingResponse:
    """Lines of JSON, the oldest first, for `zentoria audit verify`.

    Fewer lines than `limit`: there are no more now. All values are texts, as the chain's hashes cover them.
    """
    lines = service.export(services, principal, after, limit)
    # The first rows are read before the answer begins: a database that is away is a 503, and no answer cut short.
    first = await anext(lines, b"")
    return StreamingResponse(_whole(first, lines), media_type=NDJSON)


async def _whole(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for lines in rest:
        yield lines
