"""``/api/v1/users/me``: the caller's account, which the auth service keeps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from zentoria_common.problems import answers

from zentoria_backend import etag
from zentoria_backend.access.gate import Caller
from zentoria_backend.services import ServicesDep
from zentoria_backend.users.schemas import Me, MeChange, PasswordChange

router = APIRouter(tags=["users"])


@router.get(
    "/api/v1/users/me", summary="Your account", responses=answers(404, 502) | etag.NOT_MODIFIED, response_model=Me
)
async def get_me(
    principal: Caller,
    services: ServicesDep,
    request: Request,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Your account, without anything secret."""
    me = await services.auth.ask(Me, "GET", "/me", user=principal)
    return etag.answer(request, me)


@router.patch("/api/v1/users/me", summary="Change your account", responses=answers(404, 502))
async def change_me(body: MeChange, principal: Caller, services: ServicesDep) -> Me:
    """Change your name."""
    return await services.auth.ask(Me, "PATCH", "/me", user=principal, json=body.model_dump())


@router.post("/api/v1/users/me/password", summary="Change your password", status_code=204, responses=answers(404, 502))
async def change_password(body: PasswordChange, principal: Caller, services: ServicesDep) -> Response:
    """Set another password.

    403 `/problems/reauthentication-required`: sign in again, or send the present one.
    """
    await services.auth.tell("POST", "/me/password", user=principal, json=body.model_dump(exclude_none=True))
    await services.access.forget_sessions()
    return Response(status_code=204)
