"""``/api/v1/keys``."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.keys import service
from zentoria_backend.keys.schemas import Key, MadeKey, NewKey
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["keys"])


@router.get("/api/v1/keys", summary="List keys")
async def list_keys(
    principal: Caller, services: ServicesDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[Key]:
    """Your keys, the newest first, revoked ones too."""
    return await service.list_keys(services, principal, limit, cursor)


@router.post("/api/v1/keys", summary="Make a key", status_code=201, responses=answers(409))
async def make_key(body: NewKey, principal: Caller, services: ServicesDep, response: Response) -> MadeKey:
    """Make a key, with scopes that your own credential has. Its secret is in this answer and nowhere else."""
    made = await service.make_key(services, principal, body)
    response.headers["location"] = f"/api/v1/keys/{made.id}"
    return made


@router.get("/api/v1/keys/{key_id}", summary="One key", responses=answers(404))
async def get_key(key_id: UUID, principal: Caller, services: ServicesDep) -> Key:
    """One of your keys."""
    return await service.get_key(services, principal, key_id)


@router.delete("/api/v1/keys/{key_id}", summary="Revoke a key", status_code=204, responses=answers(404))
async def revoke_key(key_id: UUID, principal: Caller, services: ServicesDep) -> Response:
    """Revoke a key. It stays in the list."""
    await service.revoke_key(services, principal, key_id)
    return Response(status_code=204)
