"""``/api/v1/settings``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from zentoria_common.problems import answers

from zentoria_backend import etag
from zentoria_backend.access.gate import Caller
from zentoria_backend.paging import DEFAULT_LIMIT, CursorText, Limit, Page
from zentoria_backend.services import ServicesDep
from zentoria_backend.site_settings import service
from zentoria_backend.site_settings.schemas import NewValue, Setting

SettingKey = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_.-]{0,99}$", examples=["chat.default_model"])]
IfMatch = Annotated[
    str | None, Header(max_length=200, description="the ETag that you last saw: 412 if it is another one by now")
]

_CREATED: dict[int | str, dict[str, Any]] = {201: {"model": Setting, "description": "It was not set before."}}

router = APIRouter(tags=["settings"])


@router.get("/api/v1/settings", summary="List settings")
async def list_settings(
    principal: Caller, services: ServicesDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[Setting]:
    """What is set, by key; what is not has its default."""
    return await service.list_settings(services, principal, limit, cursor)


@router.get(
    "/api/v1/settings/{key}", summary="One setting", responses=answers(404) | etag.NOT_MODIFIED, response_model=Setting
)
async def get_setting(
    key: SettingKey,
    principal: Caller,
    services: ServicesDep,
    request: Request,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """One of them."""
    setting = await service.get_setting(services, principal, key)
    return etag.answer(request, setting, etag.of_revision(setting.revision))


@router.put("/api/v1/settings/{key}", summary="Set a value", responses=_CREATED | answers(409, 412))
async def put_setting(
    key: SettingKey,
    body: NewValue,
    principal: Caller,
    services: ServicesDep,
    response: Response,
    if_match: IfMatch = None,
) -> Setting:
    """Set it: 201 where it was not set before. For an owner."""
    setting, new = await service.put_setting(services, principal, key, body.value, if_match)
    response.status_code = 201 if new else 200
    response.headers["etag"] = etag.of_revision(setting.revision)
    return setting


@router.delete("/api/v1/settings/{key}", summary="Remove a setting", status_code=204, responses=answers(404, 412))
async def delete_setting(
    key: SettingKey, principal: Caller, services: ServicesDep, if_match: IfMatch = None
) -> Response:
    """Remove it: its default holds again. For an owner."""
    await service.delete_setting(services, principal, key, if_match)
    return Response(status_code=204)
