"""``/api/v1/users/me/totp|recovery-codes|passkeys``: second factors, which the auth service keeps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from zentoria_common.problems import answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.auth.schemas import PasskeyQuestion
from zentoria_backend.paging import Page
from zentoria_backend.services import ServicesDep
from zentoria_backend.users.schemas import Codes, PasskeyAdded, PasskeyMade, PasskeyShown, Proof, TotpCode, TotpSecret

router = APIRouter(tags=["second factors"])
_ERRORS: dict[int | str, dict[str, Any]] = answers(404, 409, 502)


@router.post("/api/v1/users/me/totp", summary="Begin an authenticator app", responses=_ERRORS)
async def begin_totp(body: Proof, principal: Caller, services: ServicesDep) -> TotpSecret:
    """It counts when a code of it was shown."""
    return await services.auth.ask(TotpSecret, "POST", "/me/totp", user=principal, json=_sent(body))


@router.post("/api/v1/users/me/totp/confirm", summary="Confirm an authenticator app", responses=_ERRORS)
async def confirm_totp(body: TotpCode, principal: Caller, services: ServicesDep) -> Codes:
    """Show the first code of the app."""
    return await services.auth.ask(Codes, "POST", "/me/totp/confirm", user=principal, json=_sent(body))


@router.post("/api/v1/users/me/totp/remove", summary="Remove an authenticator app", status_code=204, responses=_ERRORS)
async def remove_totp(body: Proof, principal: Caller, services: ServicesDep) -> Response:
    """Take the app away."""
    await services.auth.tell("POST", "/me/totp/remove", user=principal, json=_sent(body))
    return Response(status_code=204)


@router.post("/api/v1/users/me/recovery-codes", summary="Make new recovery codes", responses=_ERRORS)
async def new_codes(body: Proof, principal: Caller, services: ServicesDep) -> Codes:
    """Ten new ones; the old ones end."""
    return await services.auth.ask(Codes, "POST", "/me/recovery-codes", user=principal, json=_sent(body))


@router.get("/api/v1/users/me/passkeys", summary="List passkeys", responses=answers(502))
async def list_passkeys(principal: Caller, services: ServicesDep) -> Page[PasskeyShown]:
    """Yours; all of them on one page."""
    return await services.auth.ask(Page[PasskeyShown], "GET", "/me/passkeys", user=principal)


@router.post("/api/v1/users/me/passkeys/options", summary="Begin a passkey", responses=_ERRORS)
async def passkey_options(body: Proof, principal: Caller, services: ServicesDep) -> PasskeyQuestion:
    """What to ask a browser that shall make one."""
    return await services.auth.ask(PasskeyQuestion, "POST", "/me/passkeys/options", user=principal, json=_sent(body))


@router.post("/api/v1/users/me/passkeys", summary="Keep a passkey", status_code=201, responses=_ERRORS)
async def add_passkey(body: PasskeyMade, principal: Caller, services: ServicesDep) -> PasskeyAdded:
    """Keep what the browser made."""
    return await services.auth.ask(PasskeyAdded, "POST", "/me/passkeys", user=principal, json=_sent(body))


@router.post(
    "/api/v1/users/me/passkeys/{passkey_id}/remove", summary="Remove a passkey", status_code=204, responses=_ERRORS
)
async def remove_passkey(passkey_id: UUID, body: Proof, principal: Caller, services: ServicesDep) -> Response:
    """Take it away."""
    await services.auth.tell("POST", f"/me/passkeys/{passkey_id}/remove", user=principal, json=_sent(body))
    return Response(status_code=204)


def _sent(body: Proof | TotpCode | PasskeyMade) -> dict[str, Any]:
    return body.model_dump(exclude_none=True)
