"""``/api/v1/memory``."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.memory import service
from zentoria_backend.memory.schemas import Memory, NewMemory
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

PATH = "/api/v1/memory"

router = APIRouter(tags=["memory"])


@router.get(PATH, summary="List memories")
async def list_memories(
    principal: Caller, services: ServicesDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[Memory]:
    """What answers may go by about you, the newest first."""
    return await service.list_memories(services, principal, limit, cursor)


@router.post(PATH, summary="Remember something", status_code=201, responses=answers(409))
async def add(body: NewMemory, principal: Caller, services: ServicesDep) -> Memory:
    """Have something remembered: every answer may go by it."""
    return await service.add(services, principal, body)


@router.delete(PATH, summary="Forget everything", status_code=204)
async def remove_all(principal: Caller, services: ServicesDep) -> Response:
    """Delete all memories, for good."""
    await service.remove_all(services, principal)
    return Response(status_code=204)


@router.delete(PATH + "/{memory_id}", summary="Forget something", status_code=204, responses=answers(404))
async def remove(memory_id: UUID, principal: Caller, services: ServicesDep) -> Response:
    """Delete one memory, for good."""
    await service.remove(services, principal, memory_id)
    return Response(status_code=204)
